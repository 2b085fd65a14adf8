"""Values outside [0, 1]: into the network's range by a curve, and back by its inverse.

A network is trained on values in [0, 1]. High dynamic range images, and images that
another program has sharpened or resized, hold others. They run twice: clipped to [0, 1],
as every image does, and on the curve. The second result is taken around values outside
[0, 1], the first everywhere else, to the bit. Steps of back-projection then bring what
is above 1, reduced again, to the image that it was made of.

`benchmarks/wide_range.py` measures it. Another way was tried there: the part above 1
interpolated and added to the clipped result. It is 2.6 dB further from the original
above 1 and beside, as it blurs what is above 1 and clips every edge up to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..resize import bicubic
from .transfer import begin_read, memory_order

TOLERANCE = 0.5 / 255
"""How far values may lie outside [0, 1] and be clipped all the same: rounding of others."""

LARGEST: float = torch.finfo(torch.float16).max
"""The largest value of float16, which is what infinities are taken for."""

_DILATED = 2
"""Pixels around a value outside [0, 1] that are as near as it, see `nearness`."""

_BLURRED = 1
"""Radius in pixels of the mean that has `nearness` fall smoothly."""

_STEPS = 8
"""Of back-projection, see `extend`."""

_LARGEST_STEP = 0.25
"""Of a value: larger steps ring where light is linear and its contrasts are high."""


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
        """Returns the curve for an image, or None where `values_outside` does.

        The ends of a curve are powers of two, so that the frames of a scene have the same
        one; but for `LARGEST`, which float16 holds.
        """
        ends = values_outside(image)
        if ends is None:
            return None
        least, largest = ends
        low = -min(LARGEST, _power_of_two_from(-least)) if least < 0 else 0.0
        return cls(low, min(LARGEST, _power_of_two_from(max(1.0, largest))))

    def compress(self, x: Tensor) -> Tensor:
        """Returns values in [low, high] as float32 in [0, 1]."""
        return (_bent(x.float()) - self._start) / self._span

    def expand(self, y: Tensor) -> Tensor:
        """Returns values in [0, 1] as float32 in [low, high]: the inverse."""
        return _unbent(y.float() * self._span + self._start)

    @property
    def _start(self) -> float:
        return _bent_number(self.low)

    @property
    def _span(self) -> float:
        return _bent_number(self.high) - self._start


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
    least, largest = extremes(image)
    if not (math.isfinite(least) and math.isfinite(largest)):
        least, largest = extremes(finite(image))
    return None if _is_in_range(least, largest) else (least, largest)


class OutsideError(Exception):
    """An image has values outside [0, 1], or NaN."""


def begin_check(image: Tensor) -> Callable[[], None]:
    """Begins to look for values outside [0, 1] and for NaN; returns what ends it.

    That raises `OutsideError` if there are any. An image on a CUDA device is looked at
    there meanwhile, any other one at the end.
    """
    end = begin_read(_ends(image)) if image.is_cuda else lambda: _ends(image)

    def check() -> None:
        if not _is_in_range(*_numbers(end())):
            raise OutsideError

    return check


def extremes(image: Tensor) -> tuple[float, float]:
    """Returns the least and the largest value of an image; NaN if any value is."""
    return _numbers(_ends(image))


def finite(image: Tensor) -> Tensor:
    """Returns an image with NaN as 0 and values up to `LARGEST`."""
    return image.nan_to_num(0.0, LARGEST, -LARGEST).clamp(-LARGEST, LARGEST)


def nearness(image: Tensor) -> Tensor:
    """Returns how near each pixel is to a value outside [0, 1].

    Args:
        image: (N, C, H, W).

    Returns:
        (N, 1, H, W) float32: 1 beside such a value, 0 from 4 pixels on, falling between.
    """
    outside = ((image < -TOLERANCE) | (image > 1 + TOLERANCE)).any(1, keepdim=True)
    near = F.max_pool2d(outside.float(), 2 * _DILATED + 1, 1, _DILATED)
    return F.avg_pool2d(near, 2 * _BLURRED + 1, 1, _BLURRED, count_include_pad=False)


def extend(made: Tensor, curved: Tensor, image: Tensor, curve: RangeCurve) -> None:
    """Puts into an upscaled image what lies outside [0, 1], in place.

    The result on the curve is blended in by `nearness`. Iterative back-projection (Irani
    and Peleg, 1991) then adds to values above 1 what they miss once reduced to the size
    of the image: the inverse of the curve makes errors as large as the values are.

    Args:
        made: (N, C, H, W), upscaled from the image clipped to [0, 1].
        curved: (N, C, H, W) in [0, 1], upscaled from the image on the curve.
        image: (N, c, h, w). Where c is not C, or H and W not larger, nothing is
            back-projected.
        curve: That of the image.
    """
    small, large = (image.shape[2], image.shape[3]), (made.shape[2], made.shape[3])
    is_larger = all(before <= after for before, after in zip(small, large))
    steps = _STEPS if is_larger and image.shape[1] == made.shape[1] else 0
    near = F.interpolate(nearness(image), large, mode="bilinear")
    for i in range(made.shape[1]):  # channel by channel: a third of the memory
        channel = slice(i, i + 1)
        beyond = curve.expand(curved[:, channel])
        mixed = made[:, channel].to(beyond).lerp_(beyond, near)
        for _ in range(steps):
            missing = image[:, channel] - bicubic(mixed, small)
            most = mixed.abs() * _LARGEST_STEP
            step = bicubic(missing, large).clamp_(-most, most).mul_(near)
            above = (mixed - 1).mul_(16).clamp_(0, 1)  # a steady onset above 1
            mixed = mixed.addcmul_(step, above).clamp_(curve.low, curve.high)
        made[:, channel] = mixed


def _ends(image: Tensor) -> Tensor:
    """Returns `extremes` as a tensor (2,), on CUDA where the image is, else on the CPU."""
    if not image.is_cuda:  # other GPUs may not have the operator
        image = image.cpu()
    # as it lies in memory: many times faster
    image = image.detach().permute(memory_order(image))
    ends = image.new_empty(2)
    torch.aminmax(image, out=(ends[0], ends[1]))
    return ends


def _numbers(ends: Tensor) -> tuple[float, float]:
    least, largest = ends.cpu()
    return float(least), float(largest)


def _is_in_range(least: float, largest: float) -> bool:
    return least >= -TOLERANCE and largest <= 1 + TOLERANCE


def _bent(x: Tensor) -> Tensor:
    size = x.abs()
    return torch.where(size > 1, x.sign() * (1 + size.clamp_min(1).log()), x)


def _bent_number(x: float) -> float:
    return float(_bent(torch.tensor(x, dtype=torch.float64, device="cpu")))


def _unbent(y: Tensor) -> Tensor:
    size = y.abs()
    return torch.where(size > 1, y.sign() * (size.clamp_min(1) - 1).exp(), y)


def _power_of_two_from(value: float) -> float:
    """Returns the least power of two from ``value`` on, which is above 0."""
    return 2.0 ** math.ceil(math.log2(value))
