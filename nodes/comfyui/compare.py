"""Compare: before and after upscaling, as one picture."""

from __future__ import annotations

from comfy_api.latest import io, ui
from torch import Tensor
from typing_extensions import override

from ...spanpp_core import split_view
from .compatibility import node_schema
from .progress import show_text


class SpanPPCompare(io.ComfyNode):
    """Shows the enlarged original and the result, with a line between them."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SpanPPCompare",
            display_name="Compare (SpanPP)",
            description=(
                "Shows an image before and after upscaling as one picture with a dividing"
                " line."
            ),
            search_aliases=["before after", "compare images", "split view"],
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "before",
                    tooltip=(
                        "The image as it was; enlarged to the size of 'after' by bicubic"
                        " interpolation."
                    ),
                ),
                io.Image.Input("after", tooltip="The upscaled image."),
                io.Float.Input(
                    "divider",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip=(
                        "Where the line stands, as a share of the width: 0 shows only"
                        " 'after', 1 only 'before'."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output(
                    "comparison",
                    display_name="comparison",
                    tooltip="A picture a frame, of the size of 'after'.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @override
    @classmethod
    def execute(cls, before: Tensor, after: Tensor, divider: float) -> io.NodeOutput:
        comparison = split_view(
            before.movedim(-1, 1), after.movedim(-1, 1), divider
        ).movedim(1, -1)
        _, height, width, _ = before.shape
        _, out_height, out_width, _ = after.shape
        show_text(
            cls,
            f"left: bicubic from {width}x{height} px · right: {out_width}x{out_height} px",
        )
        return io.NodeOutput(comparison, ui=ui.PreviewImage(comparison))
