"""Demo Photo: something to upscale on a fresh install."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor
from typing_extensions import override

from ...spanpp_core import bundled_photo
from .compatibility import node_schema


class SpanPPDemoPhoto(io.ComfyNode):
    """Gives the photo that comes with the pack, small, or a pan over it."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SpanPPDemoPhoto",
            display_name="Demo Photo (SpanPP)",
            description=(
                "The small photo that comes with the nodes, to try them without any file"
                " of your own."
            ),
            search_aliases=[
                *("example image", "test image", "sample photo"),
                *("示例图片", "测试图片", "サンプル画像", "テスト画像"),
            ],
            inputs=[
                io.Int.Input(
                    "longer_side",
                    default=384,
                    min=32,
                    max=1024,
                    step=32,
                    display_name="longer side",
                    tooltip=(
                        "Longer side of the photo in pixels; it is made smaller, never"
                        " larger."
                    ),
                ),
                io.Int.Input(
                    "frames",
                    default=1,
                    min=1,
                    max=64,
                    tooltip=(
                        "1 gives the photo; more give a slow pan over it, to try batches"
                        " of frames."
                    ),
                ),
                io.Int.Input(
                    "jpeg_quality",
                    default=0,
                    min=0,
                    max=95,
                    optional=True,
                    display_name="JPEG quality (0: none)",
                    tooltip=(
                        "Stores the photo as a JPEG of this quality first, to try the"
                        " repair of Load SpanPP: 40 shows blocks and rings. 0: no JPEG."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image", display_name="image", tooltip="The photo, in [0, 1]."
                )
            ],
        )

    @override
    @classmethod
    def execute(
        cls, longer_side: int, frames: int, jpeg_quality: int = 0
    ) -> io.NodeOutput:
        with Image.open(bundled_photo()) as photo:
            photo.thumbnail((longer_side, longer_side), Image.Resampling.LANCZOS)
            small = photo.convert("RGB")
        if jpeg_quality:
            small.save(stored := BytesIO(), "JPEG", quality=jpeg_quality)
            small = Image.open(stored)
        pixels = np.asarray(small, dtype=np.float32) / 255
        return io.NodeOutput(_pan(torch.from_numpy(pixels), frames))


def _pan(photo: Tensor, frames: int) -> Tensor:
    """Cuts (H, W, C) into frames (N, H, W - 2 * (N - 1), C), two pixels apart."""
    steps = frames - 1
    width = photo.shape[1] - 2 * steps
    if width < 1:
        raise ValueError(
            f"{frames} frames need a photo wider than {2 * steps} pixels; this one has"
            f" {photo.shape[1]}"
        )
    return torch.stack([photo[:, 2 * i : 2 * i + width] for i in range(frames)])
