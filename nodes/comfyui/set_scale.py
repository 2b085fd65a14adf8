"""Set Scale: one loaded model, bound to another scale."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from typing_extensions import override

from ...spanpp_core import ScaleError, parse_factor
from .any_model import as_spanpp, elsewhere, for_any_node
from .compatibility import factor_input, node_schema
from .progress import show_text

OLDER_CUSTOM = "custom"
"""
What ``scale`` was in graphs saved when it was a list: "x2", "x3", or this with the number
in an input of its own, ``scale.factor``.
"""


class SpanPPSetScale(io.ComfyNode):
    """Returns a view of a model, bound to a scale; the weights are shared."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SpanPPSetScale",
            display_name="Set Scale (SpanPP)",
            description=(
                "Sets the scale of a SpanPP model. The weights are shared: use as"
                " many of these nodes on one model as you like."
            ),
            search_aliases=[
                *("upscale by", "upscale factor", "scale model", "2x", "4x"),
                *("放大倍数", "倍数", "超分", "拡大率", "倍率", "超解像"),
            ],
            inputs=[
                io.UpscaleModel.Input("model", tooltip="A SpanPP model."),
                factor_input(
                    "scale",
                    tooltip=(
                        "Factor for width and height: any number from 1 to 8, such"
                        " as 1.5 or 8/3. Nodes other than Upscale (SpanPP) get the"
                        " nearest multiple of 1/240, so that their tiles join"
                        " without gaps."
                    ),
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
                    tooltip="The scale as a number.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @override
    @classmethod
    def validate_inputs(cls, scale: object = None) -> bool | str:
        """Says at once which text is no scale; what comes by a link is seen later."""
        try:
            if scale is not None and scale != OLDER_CUSTOM:
                _factor(scale)
        except ScaleError as error:
            return str(error)
        return True

    @override
    @classmethod
    def execute(cls, model: object, scale: object = 2.0, **older: Any) -> io.NodeOutput:
        if scale == OLDER_CUSTOM:
            scale = older.get("scale.factor", cls._older_factor())
        factor = _factor(scale)
        ours = as_spanpp(model).at_scale(factor)
        other = elsewhere(ours)
        if other is not None:
            show_text(cls, f"x{factor:.6g}; other nodes get x{other:.6g}")
        return io.NodeOutput(for_any_node(ours, factor), factor)

    @classmethod
    def _older_factor(cls) -> object:
        """The number beside `OLDER_CUSTOM`: the host passes no input it does not know."""
        node = (cls.hidden.prompt or {}).get(cls.hidden.unique_id, {})
        return node.get("inputs", {}).get("scale.factor", 2.5)


def _factor(value: object) -> float:
    """Returns a number, or what a text such as "8/3" or "x2" stands for.

    Raises:
        ScaleError: It is no number above 0.
    """
    if isinstance(value, (int, float)):
        return float(value)
    return parse_factor(str(value))
