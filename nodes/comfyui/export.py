"""Export: a model as files for other programs."""

from __future__ import annotations

import comfy.model_management
import comfy.utils
from comfy_api.latest import io
from typing_extensions import override

from ...spanpp_core import parse
from ...spanpp_core.export import FORMATS, ExportOptions, export
from ...spanpp_core.export.formats import WeightPrecision
from .compatibility import node_schema, one_of
from .model_socket import as_spanpp
from .output_folder import inside_output
from .progress import show_text

PRECISIONS: dict[str, WeightPrecision] = {"float32": "fp32", "float16": "fp16"}


class SpanPPExport(io.ComfyNode):
    """Writes a model as ONNX, ncnn, TorchScript or safetensors, and verifies it."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SpanPPExport",
            display_name="Export SpanPP",
            description=(
                "Saves a SpanPP model for other programs: chaiNNer, mpv, TensorRT,"
                " Upscayl. Each file is run and compared with the model first."
            ),
            search_aliases=["onnx", "ncnn", "convert model", "save upscale model"],
            is_output_node=True,
            inputs=[
                io.UpscaleModel.Input("model", tooltip="A SpanPP model."),
                io.String.Input(
                    "filename",
                    default="export/spanpp",
                    tooltip=(
                        "What the files' names begin with, in ComfyUI's output folder;"
                        " the scale is added. Folders are allowed: 'models/mine'."
                    ),
                ),
                io.Combo.Input(
                    "format",
                    options=list(FORMATS),
                    tooltip=(
                        "onnx: a file a scale. onnx-multi: one for the whole scales 1 to"
                        " 8. ncnn: for Upscayl. The first two need the Python"
                        " packages onnx and onnxruntime, ncnn needs pnnx and ncnn."
                    ),
                ),
                io.String.Input(
                    "scales",
                    default="",
                    tooltip=(
                        "Scales with spaces between, such as '2 2.5 4', for a file each."
                        " Empty: the model's own, see Set Scale. Leave empty for formats"
                        " that hold every scale."
                    ),
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    tooltip="Of the weights and the arithmetic: float16 takes half.",
                ),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="Replace files of the same names.",
                ),
            ],
            outputs=[],
            hidden=[io.Hidden.unique_id],
        )

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
        one_of("format", format, FORMATS)
        one_of("precision", precision, PRECISIONS)
        network = as_spanpp(model)
        place = inside_output(filename)
        wanted = _numbers(scales)
        if not wanted and FORMATS[format].one_scale:
            wanted = [network.scale]
        files = export(
            parse(network.model.state_dict()),
            place.name,
            place.parent,
            [format],
            wanted,
            ExportOptions(PRECISIONS[precision], overwrite=overwrite),
        )
        total = max(1, len(wanted))
        bar = comfy.utils.ProgressBar(total)
        lines: list[str] = []
        for done, file in enumerate(files, start=1):
            names = " and ".join(path.name for path in file.paths)
            lines.append(f"{names}: within {file.difference:.1e} of the model")
            show_text(cls, lines[-1])
            bar.update_absolute(done, total, None)
            comfy.model_management.throw_exception_if_processing_interrupted()
        return io.NodeOutput(ui={"text": ("\n".join(lines),)})


def _numbers(text: str) -> list[float]:
    """Returns the numbers in a text, with spaces or commas between them.

    Raises:
        ValueError: A word is not a number.
    """
    numbers: list[float] = []
    for word in text.replace(",", " ").split():
        try:
            numbers.append(float(word))
        except ValueError:
            raise ValueError(
                f"{word!r} is not a scale; give numbers such as '2 2.5 4'"
            ) from None
    return numbers
