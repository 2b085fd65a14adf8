"""Quality metrics: how close an image is to its original."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (65.481, 128.553, 24.966)
"""Weights of R, G, B in the Y of BT.601, studio swing, in units of 1/255 (offset 16)."""


def psnr_y(image: Tensor, original: Tensor, border: int = 0) -> float:
    """Returns the PSNR in dB on Y, as the super-resolution literature reports it.

    Args:
        image: (N, 3, H, W) in [0, 1].
        original: The same shape.
        border: Pixels left out on each side; usually the scale, rounded up.

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> import torch
        >>> black = torch.zeros(1, 3, 8, 8)
        >>> round(psnr_y(black + 0.1, black), 2)
        21.32
    """
    _check_shapes(image, original)
    difference = _luma(image, border) - _luma(original, border)
    mean_square = float(difference.square().mean())
    return math.inf if mean_square == 0 else -10 * math.log10(mean_square)


def ssim_y(image: Tensor, original: Tensor, border: int = 0) -> float:
    """Returns the SSIM on Y, 1 for equal images.

    With the 11x11 Gaussian window of sigma 1.5 and the constants of Wang et al. 2004,
    where the window lies inside the image, as the super-resolution literature does.

    Args:
        image: (N, 3, H, W) in [0, 1], 11 pixels or more beside the border.
        original: The same shape.
        border: Pixels left out on each side; usually the scale, rounded up.

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(image, original)
    x, y = (_luma(each, border) for each in (image, original))
    offsets = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-offsets.square() / (2 * 1.5**2))
    line = (line / line.sum()).to(x.device)

    def mean(z: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(z, line.view(1, 1, 11, 1)), line.view(1, 1, 1, 11))

    mean_x, mean_y = mean(x), mean(y)
    variance_x = mean(x * x) - mean_x**2
    variance_y = mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float((luminance * structure).mean())


def _check_shapes(image: Tensor, original: Tensor) -> None:
    if image.shape != original.shape:
        raise ValueError(
            f"images of {tuple(image.shape)} and {tuple(original.shape)} cannot be"
            " compared; expected equal shapes"
        )


def _luma(image: Tensor, border: int) -> Tensor:
    """Returns (N, 1, H, W): Y in units of 255, without a border, in double."""
    inside = image[
        ..., border : image.shape[-2] - border, border : image.shape[-1] - border
    ]
    if not inside.is_cuda:  # other GPUs may not have float64
        inside = inside.cpu()
    inside = inside.double()
    weights = inside.new_tensor(LUMA).view(1, 3, 1, 1)
    return ((inside * weights).sum(1, keepdim=True) + 16) / 255
