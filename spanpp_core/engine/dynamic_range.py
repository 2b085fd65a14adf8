"""Values outside [0, 1]: into the network's range by a curve, and back by its inverse.

A network is trained on values in [0, 1]. High dynamic range images, and images that
another program has sharpened or resized, hold others. They run twice: clipped to [0, 1],
as every image does, and on the curve. The second result is taken where a value outside
[0, 1] is near, the first everywhere else: what is far from such values does not change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..resize import bicubic

TOLERANCE = 0.5 / 255
"""How far values may lie outside [0, 1] and be clipped all the same: rounding of others."""

LARGEST = 65504.0
"""The largest value of float16, which is what infinities are taken for."""

_DILATED = 5
_BLURRED = 2


@dataclass(frozen=True)
class RangeCurve:
    """A curve that takes [low, high] to [0, 1], and its inverse.

    In the middle, from -1 to 1, it is a straight line; beyond, a logarithm of the same
    slope there. An error of the network is thus the same share of every value above 1.

    Example:
        >>> curve = RangeCurve(0.0, 8.0)
        >>> x = torch.tensor([0.0, 0.5, 1.0, 8.0])
        >>> curve.compress(x)
        tensor([0.0000, 0.1624, 0.3247, 1.0000])
        >>> torch.allclose(curve.expand(curve.compress(x)), x)
        True
    """

    low: float
    """At most 0."""
    high: float
    """At least 1."""

    @classmethod
    def of(cls, image: Tensor) -> RangeCurve | None:
        """Returns the curve for an image, or None if its values lie in [0, 1].

        Its ends are powers of two, so that the frames of a scene have the same curve.
        """
        ends = values_outside(image)
        if ends is None:
            return None
        least, largest = ends
        low = -_power_of_two_from(-least) if least < 0 else 0.0
        return cls(low, _power_of_two_from(max(1.0, largest)))

    def compress(self, x: Tensor) -> Tensor:
        """Returns values in [low, high] as float32 in [0, 1]."""
        return (_bent(x.float()) - self._start) / self._span

    def expand(self, y: Tensor) -> Tensor:
        """Returns values in [0, 1] as float32 in [low, high]: the inverse."""
        return _unbent(y.float() * self._span + self._start)

    @property
    def _start(self) -> float:
        return float(_bent(torch.tensor(self.low, dtype=torch.float64)))

    @property
    def _span(self) -> float:
        return float(_bent(torch.tensor(self.high, dtype=torch.float64))) - self._start


def values_outside(image: Tensor) -> tuple[float, float] | None:
    """Returns the ends of an image's values if they lie outside [0, 1], else None.

    Args:
        image: Any shape; NaN counts as 0, and infinities as `LARGEST`.

    Example:
        >>> values_outside(torch.tensor([0.0, 0.25, 8.0]))
        (0.0, 8.0)
        >>> values_outside(torch.tensor([0.0, 0.25, 1.001])) is None
        True
    """
    order = sorted(range(image.ndim), key=image.stride, reverse=True)
    image = image.permute(order)  # as it lies in memory: many times faster
    least, largest = (float(end) for end in image.aminmax())
    if not (math.isfinite(least) and math.isfinite(largest)):
        least, largest = (float(end) for end in finite(image).aminmax())
    if least >= -TOLERANCE and largest <= 1 + TOLERANCE:
        return None
    return least, largest


def finite(image: Tensor) -> Tensor:
    """Returns an image with NaN as 0 and values up to `LARGEST`."""
    return image.nan_to_num(0.0, LARGEST, -LARGEST).clamp(-LARGEST, LARGEST)


def nearness(image: Tensor) -> Tensor:
    """Returns how near each pixel is to a value outside [0, 1].

    Args:
        image: (N, C, H, W).

    Returns:
        (N, 1, H, W) float32: 1 within 3 pixels, 0 from 8 on, falling between.
    """
    outside = ((image < -TOLERANCE) | (image > 1 + TOLERANCE)).any(1, keepdim=True)
    near = F.max_pool2d(outside.float(), 2 * _DILATED + 1, 1, _DILATED)
    return F.avg_pool2d(near, 2 * _BLURRED + 1, 1, _BLURRED, count_include_pad=False)


def back_projected(made: Tensor, image: Tensor) -> Tensor:
    """Returns a larger image that, made small again, is more like the one it was made of.

    One step of iterative back-projection (Irani and Peleg, 1991): what a network adds to
    flat areas is small in [0, 1], and the inverse of a curve would multiply it.

    Args:
        made: (N, C, H, W) in [0, 1].
        image: (N, C, h, w) in [0, 1]; of other channels than ``made``, nothing is done.
    """
    if made.shape[1] != image.shape[1]:
        return made
    missing = image - bicubic(made, (image.shape[2], image.shape[3]))
    return (made + bicubic(missing, (made.shape[2], made.shape[3]))).clamp_(0, 1)


def _bent(x: Tensor) -> Tensor:
    size = x.abs()
    return torch.where(size > 1, x.sign() * (1 + size.clamp_min(1).log()), x)


def _unbent(y: Tensor) -> Tensor:
    size = y.abs()
    return torch.where(size > 1, y.sign() * (size.clamp_min(1) - 1).exp(), y)


def _power_of_two_from(value: float) -> float:
    """Returns the least power of two from ``value`` on, which is above 0."""
    return 2.0 ** math.ceil(math.log2(value))
