"""Downscaling a crop of a photo by any scale, as the whole photo would be downscaled.

A resize is linear along each axis, so it is one product with a matrix per axis: the same
for every crop of a batch, on any device, and for scales at which the low-resolution pixels
fall anywhere between the pixels of the photo.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from ..network.device_tables import to_device

Kernel = Literal["bicubic", "bilinear", "area"]
"""What makes an image smaller; all of them antialiased."""


def downscale(
    full: Tensor, scale: Fraction, cells: range, edge: int, kernel: Kernel = "bicubic"
) -> Tensor:
    """Computes some low-resolution pixels of square crops.

    Args:
        full: (N, C, S, S), floating.
        scale: How much larger ``full`` is than the result, at least 1.
        cells: The pixels wanted along each axis; pixel 0 has its corner at ``edge``.
        edge: A place in ``full``, in its pixels.
        kernel: Bicubic is that of `resize`, to rounding.

    Returns:
        (N, C, len(cells), len(cells)), not clamped.
    """
    if scale == 1:
        inside = slice(edge + cells.start, edge + cells.stop)
        return full[..., inside, inside]
    matrix = _matrix(scale, cells, edge, full.shape[-1], kernel, full.device)
    return matrix @ full @ matrix.T


@functools.lru_cache(maxsize=512)
def _matrix(
    scale: Fraction,
    cells: range,
    edge: int,
    size: int,
    kernel: Kernel,
    device: torch.device,
) -> Tensor:
    """Returns the weights of ``size`` pixels in each cell: (len(cells), size)."""
    with torch.inference_mode(False):
        ratio = float(scale)
        centre = edge + (torch.arange(cells.start, cells.stop).double() + 0.5) * ratio
        pixel = torch.arange(size).double() + 0.5
        weight = _KERNELS[kernel]((pixel - centre[:, None]) / ratio, 1 / ratio)
        return to_device((weight / weight.sum(1, keepdim=True)).float(), device)


def _cubic(x: Tensor, _: float) -> Tensor:
    """Keys's cubic with a = -1/2."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return near.where(x < 1, far.where(x < 2, torch.zeros_like(x)))


def _triangle(x: Tensor, _: float) -> Tensor:
    return (1 - x.abs()).clamp_min(0)


def _overlap(x: Tensor, pixel: float) -> Tensor:
    """The share of a pixel of the photo that lies in the cell."""
    return ((0.5 + pixel / 2 - x.abs()) / pixel).clamp(0, min(1.0, 1 / pixel))


_KERNELS: Mapping[Kernel, Callable[[Tensor, float], Tensor]] = {
    "bicubic": _cubic,
    "bilinear": _triangle,
    "area": _overlap,
}
