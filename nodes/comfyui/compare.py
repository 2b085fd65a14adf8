"""Compare: before and after upscaling, as one picture."""

from __future__ import annotations

from comfy_api.latest import io, ui
from torch import Tensor
from typing_extensions import override

from ...spanpp_core import split_view
from .compatibility import node_schema


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
            search_aliases=[
                *("before after", "image compare", "split view", "before and after"),
                *(
                    "对比",
                    "比较图像",
                    "前后对比",
                    "比較",
                    "画像比較",
                    "ビフォーアフター",
                ),
            ],
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
                    tooltip="One picture per frame, of the size of 'after'.",
                )
            ],
        )

    @override
    @classmethod
    def execute(cls, before: Tensor, after: Tensor, divider: float) -> io.NodeOutput:
        shared = min(before.shape[-1], after.shape[-1])
        if shared == 3:  # only one of them has alpha
            before, after = before[..., :3], after[..., :3]
        comparison = split_view(
            before.movedim(-1, 1), after.movedim(-1, 1), divider
        ).movedim(1, -1)
        _, height, width, _ = before.shape
        frames, out_height, out_width, channels = after.shape
        text = f"left: bicubic from {width}x{height} px"
        text += f" · right: {out_width}x{out_height} px"
        if frames > 1:
            text += f"\nfirst of {frames} frames"
        first = comparison[:1]
        if channels < 3:  # grey, with alpha or not
            first = first[..., :1].expand(-1, -1, -1, 3)
        shown = ui.PreviewImage(first).as_dict()
        return io.NodeOutput(comparison, ui={**shown, "text": (text,)})
