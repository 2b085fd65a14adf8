"""Export: a model as files for other programs."""

from __future__ import annotations

import comfy.model_management
import comfy.utils
from comfy_api.latest import io
from typing_extensions import override

from ...spanpp_core import MissingPackageError, file_weights, parse_factor
from ...spanpp_core.export import FORMATS, ExportOptions, WeightPrecision, export
from ...spanpp_core.optional import missing
from .any_model import as_spanpp
from .compatibility import node_schema, one_of
from .output_folder import inside_output, shown

OFFERED = sorted(FORMATS, key=lambda name: (bool(FORMATS[name].packages), name))
"""The formats, first those that need no package which ComfyUI lacks."""

RENAMED = {"onnx-multi": "onnx-any"}
"""What saved graphs call a format, and what it is called now."""

PRECISIONS: dict[str, WeightPrecision] = {"float32": "fp32", "float16": "fp16"}


class SpanPPExport(io.ComfyNode):
    """Writes a model as ONNX, ncnn, TorchScript or safetensors, and verifies it."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SpanPPExport",
            display_name="Export Model (SpanPP)",
            description=(
                "Saves a SpanPP model: as a small file for SpanPP itself, or for other"
                " programs. Each file is run and compared with the model first."
            ),
            search_aliases=[
                *("onnx", "ncnn", "torchscript", "convert model", "save upscale model"),
                *("导出模型", "保存模型", "模型转换", "書き出し", "モデル保存", "変換"),
            ],
            is_output_node=True,
            inputs=[
                io.UpscaleModel.Input("model", tooltip="A SpanPP model."),
                io.String.Input(
                    "filename",
                    default="upscale_models/spanpp",
                    display_name="file name",
                    tooltip=(
                        "Start of the file names, in ComfyUI's output"
                        " folder; the scale is added. Load SpanPP lists what is in the"
                        " folder 'upscale_models' there."
                    ),
                ),
                io.Combo.Input(
                    "format",
                    options=OFFERED,
                    default=OFFERED[0],
                    tooltip=(
                        "safetensors: without training branches, for SpanPP; every scale."
                        " torchscript, ncnn, onnx, onnx-span: one file per scale. onnx-any:"
                        " every scale from 1 to 8. ONNX needs the Python packages onnx"
                        " and onnxruntime, ncnn needs ncnn."
                    ),
                ),
                io.String.Input(
                    "scales",
                    default="",
                    tooltip=(
                        "Scales with spaces between, such as '2 2.5 4': one file for each."
                        " Empty: the scale of the model, see Set Scale. Leave it empty for"
                        " formats that hold every scale."
                    ),
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    tooltip=(
                        "Number format of weights and arithmetic: float16 takes half the"
                        " space."
                    ),
                ),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="Replace files of the same names.",
                ),
            ],
            outputs=[],
        )

    @override
    @classmethod
    def validate_inputs(cls, format: object = None) -> bool | str:
        """Takes the formats of saved graphs too, unlike the host."""
        if format is None or RENAMED.get(str(format), format) in FORMATS:
            return True
        return f"format is {format!r}; choose one of {', '.join(OFFERED)}"

    @override
    @classmethod
    def execute(
        cls,
        model: object,
        filename: str,
        format: str,
        scales: str,
        precision: str,
        overwrite: bool,
    ) -> io.NodeOutput:
        kind = RENAMED.get(format, format)
        one_of("format", kind, FORMATS)
        one_of("precision", precision, PRECISIONS)
        _check_packages(kind)
        network = as_spanpp(model)
        place = inside_output(filename)
        wanted = _scales(scales)
        if not wanted and FORMATS[kind].one_scale:
            wanted = [network.scale]
        files = export(
            file_weights(network),
            place.name,
            place.parent,
            [kind],
            wanted,
            ExportOptions(PRECISIONS[precision], overwrite=overwrite),
        )
        total = max(1, len(wanted))
        bar = comfy.utils.ProgressBar(total)
        lines: list[str] = []
        for done, file in enumerate(files, start=1):
            first, *others = file.paths
            names = " and ".join([shown(first), *(path.name for path in others)])
            lines.append(f"{names}: {_distance(file.difference)} the model")
            bar.update_absolute(done, total, None)
            comfy.model_management.throw_exception_if_processing_interrupted()
        return io.NodeOutput(ui={"text": ("\n".join(lines),)})


def _check_packages(name: str) -> None:
    """Raises `MissingPackageError` if what a format needs is not installed."""
    absent = missing(FORMATS[name].packages)
    if absent:
        raise MissingPackageError(
            f"the format {name} needs {' and '.join(absent)}, which this ComfyUI does not"
            f" have; install {'it' if len(absent) == 1 else 'them'} into its Python, or"
            " choose safetensors"
        )


def _distance(difference: float) -> str:
    return f"at most {difference:.1e} from" if difference else "the same as"


def _scales(text: str) -> list[float]:
    """Returns the scales in a text, with spaces between them.

    Raises:
        ScaleError: A word is not a number.
    """
    words = (word.strip(",") for word in text.replace(";", " ").split())
    return [parse_factor(word) for word in words if word]
