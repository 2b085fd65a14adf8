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
    return bicubic(image, size).clamp_(0, 1).to(image.dtype)


def bicubic(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Does as `resize` for values of any range, without clamping, as float32.

    On the CPU where the device cannot, as Apple's GPUs with PyTorch before 2.8.
    """
    image = image.float()
    try:
        return _antialiased(image, size)
    except NotImplementedError:
        return _antialiased(image.cpu(), size).to(image.device)


def _antialiased(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(
        image, size, mode="bicubic", align_corners=False, antialias=True
    )
