"""Save Slim Model: Export in the format safetensors, for graphs that hold this node."""

from __future__ import annotations

from pathlib import Path

import folder_paths
import torch
from comfy_api.latest import io
from typing_extensions import override

from ...spanpp_core import file_weights, write_slim
from .any_model import as_spanpp
from .compatibility import node_schema, one_of
from .output_folder import inside_output

DTYPES = {"float16": torch.float16, "float32": torch.float32}


class SpanPPSaveSlim(io.ComfyNode):
    """Writes a model without its training branches, as safetensors."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SpanPPSaveSlim",
            display_name="Save Slim Model (SpanPP)",
            description=(
                "Replaced by Export Model (SpanPP) with the format 'safetensors'. Saves a model"
                " without its training branches: about a fifth of the size, the same"
                " pictures."
            ),
            is_output_node=True,
            is_deprecated=True,
            inputs=[
                io.UpscaleModel.Input("model", tooltip="A SpanPP model."),
                io.String.Input(
                    "filename_prefix",
                    default="upscale_models/spanpp-slim",
                    display_name="file name",
                    tooltip=(
                        "Name of the file, in ComfyUI's output folder; a number is added."
                        " Folders are allowed: 'models/mine'."
                    ),
                ),
                io.Combo.Input(
                    "weights",
                    options=list(DTYPES),
                    tooltip=(
                        "Number format of the stored weights: float16 takes half the space."
                    ),
                ),
            ],
            outputs=[],
        )

    @override
    @classmethod
    def execute(
        cls, model: object, filename_prefix: str, weights: str
    ) -> io.NodeOutput:
        one_of("weights", weights, DTYPES)
        checkpoint = file_weights(as_spanpp(model))
        path = _new_file(filename_prefix)
        write_slim(path, checkpoint, DTYPES[weights])
        saved = f"{path.relative_to(folder_paths.get_output_directory()).as_posix()}"
        kilobytes = path.stat().st_size / 1024
        text = f"saved {saved} in the output folder, {kilobytes:.0f} KiB"
        return io.NodeOutput(ui={"text": (text,)})


def _new_file(prefix: str) -> Path:
    """Returns a path that is free, in ComfyUI's output folder.

    Raises:
        ValueError: ``prefix`` leads out of the output folder.
    """
    inside_output(prefix)
    folder, name, counter, *_ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory()
    )
    return Path(folder) / f"{name}_{counter:05}_.safetensors"
