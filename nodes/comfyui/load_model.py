"""Load SpanPP: a checkpoint file to an UPSCALE_MODEL."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io
from typing_extensions import override

from ...spanpp_core import bundled_model, load
from ...spanpp_core.checkpoint import repair_file
from .compatibility import node_schema
from .device import attach_patcher

FOLDER = "upscale_models"

BUNDLED = "bundled"
"""The entry for the weights that come with the pack; saved graphs hold this name."""


class SpanPPLoadModel(io.ComfyNode):
    """Reads any SpanPP checkpoint, or the bundled weights."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        names = folder_paths.get_filename_list(FOLDER)
        return node_schema(
            node_id="SpanPPLoadModel",
            display_name="Load SpanPP",
            description=(
                "Loads a SpanPP model: one file, any scale from 1 to 8. 'bundled' needs"
                " no download."
            ),
            search_aliases=[
                *(
                    "span",
                    "spanpp",
                    "load upscale model",
                    "super resolution",
                    "load upscaler",
                    "jpeg artifacts",
                    "denoise",
                    "restore photo",
                ),
                *("加载放大模型", "放大模型", "超分", "拡大モデル", "超解像"),
            ],
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=[BUNDLED, *names],
                    display_name="model file",
                    tooltip=(
                        "A SpanPP checkpoint in models/upscale_models (.safetensors,"
                        " .pth, .pt or .ckpt), or the weights that come with the nodes."
                    ),
                ),
                io.Float.Input(
                    "repair",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip=(
                        "How strongly JPEG artefacts, blur and noise are removed, from 0"
                        " to 1. 0 keeps what is there. It needs a repair model: 'bundled'"
                        " has one; beside your own mine.safetensors put"
                        " mine_repair.safetensors."
                    ),
                ),
            ],
            outputs=[
                io.UpscaleModel.Output(
                    "model",
                    display_name="model",
                    tooltip="For Set Scale, Upscale and other nodes that upscale by model.",
                ),
                io.String.Output(
                    "trained_scales",
                    display_name="trained scales",
                    tooltip="The scales the model was trained on, such as '1, 2, 3, 4'.",
                ),
            ],
        )

    @override
    @classmethod
    def fingerprint_inputs(cls, model_name: str | None, **_repair: object) -> str:
        """Changes when a file does, so that a newly trained one is read again."""
        if model_name is None:  # it comes by a link, and is not known yet
            return ""
        path = _path_of(model_name)
        files = filter(None, (path, repair_file(path)))
        return " ".join(
            f"{file}:{status.st_mtime_ns}:{status.st_size}"
            for file, status in ((file, file.stat()) for file in files)
        )

    @override
    @classmethod
    def execute(cls, model_name: str, repair: float = 0.0) -> io.NodeOutput:
        model = load(_path_of(model_name), repair=repair)
        model.file_name = model_name  # for Model Info
        attach_patcher(model)
        return io.NodeOutput(model, ", ".join(map(str, model.scales)))


def _path_of(model_name: str) -> Path:
    """Returns the file an entry stands for.

    Raises:
        FileNotFoundError: No model of that name lies in ``models/upscale_models``.
    """
    if model_name == BUNDLED:
        return Path(bundled_model())
    path = folder_paths.get_full_path(FOLDER, model_name)
    if path is None:
        raise FileNotFoundError(
            f"no model {model_name!r} in models/{FOLDER}; put the file there and"
            f" refresh, or choose {BUNDLED!r}"
        )
    return Path(path)
