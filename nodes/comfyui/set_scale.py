"""Set Scale: one loaded model, bound to another scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io
from typing_extensions import override

from .compatibility import choice, chosen, node_schema
from .model_socket import as_spanpp

CUSTOM = "custom"
PRESETS = {"x2": 2, "x3": 3, "x4": 4, "x1": 1}
"""What is picked without typing; the first is the default."""


class SpanPPSetScale(io.ComfyNode):
    """Returns a view of a model, bound to a scale; the weights are shared."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SpanPPSetScale",
            display_name="Set Scale (SpanPP)",
            description=(
                "Binds a SpanPP model to a scale. Loads nothing: use as many as you like"
                " on one model."
            ),
            search_aliases=["upscale factor", "scale model", "upscale by"],
            inputs=[
                io.UpscaleModel.Input("model", tooltip="A SpanPP model."),
                *choice(
                    "scale",
                    _options(),
                    tooltip="Times the width and height; 'custom' takes any from 1 to 8.",
                ),
            ],
            outputs=[
                io.UpscaleModel.Output(
                    "bound_model",
                    display_name="model",
                    tooltip="The same weights at this scale, for any upscale node.",
                ),
                io.Float.Output(
                    "bound_scale",
                    display_name="scale",
                    tooltip="The scale as a number: times the width and height.",
                ),
            ],
        )

    @override
    @classmethod
    def execute(
        cls, model: object, scale: str | Mapping[str, Any], **flat: Any
    ) -> io.NodeOutput:
        option, values = chosen("scale", scale, flat, _options())
        factor = values["factor"] if option == CUSTOM else PRESETS[option]
        view = as_spanpp(model).at_scale(factor)
        return io.NodeOutput(view, float(view.scale))


def _options() -> dict[str, list[io.WidgetInput]]:
    factor = io.Float.Input(
        "factor",
        default=2.5,
        min=1.0,
        max=8.0,
        step=0.05,
        tooltip="Times the width and height, from 1 to 8; whole or not.",
    )
    return {**{name: [] for name in PRESETS}, CUSTOM: [factor]}
