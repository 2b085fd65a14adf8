"""Resizing: antialiased bicubic, as everywhere in this package."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes images by antialiased bicubic interpolation.

    Args:
        image: (N, C, H, W) in [0, 1].
        size: (height, width) in pixels.

    Returns:
        (N, C, height, width), clamped to [0, 1], in the dtype of ``image``.
    """
    resized = F.interpolate(
        image.float(), size, mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp_(0, 1).to(image.dtype)
