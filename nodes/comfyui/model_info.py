"""Model Info: what a SpanPP model is, read on the node."""

from __future__ import annotations

import torch
from comfy_api.latest import io
from typing_extensions import override

from ...spanpp_core import SpanPPDescriptor
from .any_model import as_spanpp, elsewhere
from .compatibility import node_schema

_TRAINED = "native (trained on them)"
_NOT_MARKED = "by downscaling (the file is not marked as trained on them)"


class SpanPPModelInfo(io.ComfyNode):
    """Says what a model is: scales, repair strength, size and number format."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SpanPPModelInfo",
            display_name="Model Info (SpanPP)",
            description=(
                "Shows what a SpanPP model is: its file, its scale and trained scales, its"
                " repair strength, size and number format."
            ),
            search_aliases=[
                *("model details", "trained scales", "upscale model info"),
                *("模型信息", "モデル情報"),
            ],
            is_output_node=True,
            inputs=[io.UpscaleModel.Input("model", tooltip="A SpanPP model.")],
            outputs=[
                io.String.Output(
                    "info",
                    display_name="info",
                    tooltip="The text that the node shows, a line for each fact.",
                )
            ],
        )

    @override
    @classmethod
    def execute(cls, model: object) -> io.NodeOutput:
        info = "\n".join(_facts(as_spanpp(model)))
        return io.NodeOutput(info, ui={"text": (info,)})


def _facts(model: SpanPPDescriptor) -> list[str]:
    hyper, file = model.model.hyper, model.checkpoint
    parameters = sum(each.numel() for each in model.model.parameters())
    name = getattr(model, "file_name", None)
    other = elsewhere(model)
    return [
        *([] if name is None else [f"file: {name}"]),
        f"stored as: {file.kind} weights, {_name(file.dtype)}",
        f"scale: x{model.scale:.6g}"
        + ("" if other is None else f" (in other nodes x{other:.6g})"),
        f"trained scales: {', '.join(f'x{scale}' for scale in model.scales)}",
        f"fractional scales: {_TRAINED if model.continuous else _NOT_MARKED}",
        f"repair: {model.repair:g} (0: clean, 1: full repair)",
        f"channels: {hyper.channels}, kernel: {hyper.kernel_size}x{hyper.kernel_size}",
        f"parameters: {parameters / 1e6:.2f} million",
        f"receptive field: {2 * model.model.halo + 1} pixels wide",
        f"{_name(model.dtype)} on {model.device}",
    ]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
