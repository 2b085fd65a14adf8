"""How close an image is to its original."""

from __future__ import annotations

import math

from torch import Tensor

LUMA = (65.481, 128.553, 24.966)
"""Weights of R, G, B in the Y of BT.601, studio swing, in units of 1/255 (offset 16)."""


def psnr_y(image: Tensor, original: Tensor, border: int = 0) -> float:
    """Returns the PSNR in dB on Y, as the super-resolution literature reports it.

    Args:
        image: (N, 3, H, W) in [0, 1].
        original: The same shape.
        border: Pixels left out on each side; usually the scale, rounded up.

    Example:
        >>> import torch
        >>> black = torch.zeros(1, 3, 8, 8)
        >>> round(psnr_y(black + 0.1, black), 2)
        21.32
    """
    if image.shape != original.shape:
        raise ValueError(
            f"images of {tuple(image.shape)} and {tuple(original.shape)} can not be"
            " compared; expected equal shapes"
        )
    difference = (image.double() - original.double())[
        ..., border : image.shape[-2] - border, border : image.shape[-1] - border
    ]
    y = sum(weight / 255 * difference[:, i] for i, weight in enumerate(LUMA))
    mean_square = float(y.square().mean())  # pyright: ignore
    return math.inf if mean_square == 0 else -10 * math.log10(mean_square)
