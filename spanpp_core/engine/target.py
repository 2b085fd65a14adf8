"""What a person asks for - a factor, a box, a width - as a scale and an output size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from ..descriptor import SpanPPDescriptor
from ..errors import ScaleError
from ..network.scale import MAX_SCALE, output_size
from .run import Progress, result_channels, upscale

Method = Literal["native", "downscale"]
"""
How a fractional factor is reached. "native": by the kernel of that very scale.
"downscale": by the next trained whole scale and one antialiased bicubic downscale, which
measures better with today's weights (README, "Fractional scales"), so it is the default.
Whole factors are native either way.
"""

METHODS: tuple[Method, ...] = ("downscale", "native")


@dataclass(frozen=True)
class Target:
    """An output size in pixels, and the factor from the input that leads to it.

    Make one with the functions of this class; the aspect ratio is always kept.
    """

    height: int
    width: int
    factor: float

    @staticmethod
    def by_factor(height: int, width: int, factor: float) -> Target:
        """``factor`` times the input, each side rounded.

        What is whole but for rounding errors is taken as whole.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise ScaleError(f"factor {factor} is not possible; give one above 0")
        if math.isclose(factor, round(factor), rel_tol=1e-9):
            factor = round(factor)
        out_height, out_width = output_size(height, width, factor)
        return Target(max(1, out_height), max(1, out_width), float(factor))

    @staticmethod
    def fit(height: int, width: int, box_width: int, box_height: int) -> Target:
        """The largest size within a box of ``box_width`` x ``box_height`` pixels."""
        return Target.by_factor(
            height, width, min(box_width / width, box_height / height)
        )

    @staticmethod
    def by_width(height: int, width: int, out_width: int) -> Target:
        """An output ``out_width`` pixels wide."""
        return Target.by_factor(height, width, out_width / width)

    @staticmethod
    def by_height(height: int, width: int, out_height: int) -> Target:
        """An output ``out_height`` pixels high."""
        return Target.by_factor(height, width, out_height / height)

    @staticmethod
    def by_longer_side(height: int, width: int, pixels: int) -> Target:
        """An output whose longer side is ``pixels`` long."""
        return Target.by_factor(height, width, pixels / max(height, width))

    @staticmethod
    def by_megapixels(height: int, width: int, megapixels: float) -> Target:
        """An output of about ``megapixels`` million pixels."""
        return Target.by_factor(
            height, width, math.sqrt(megapixels * 1e6 / (height * width))
        )

    def scale(self, trained: tuple[int, ...], method: Method) -> int | float:
        """Returns the scale to run the network at.

        Args:
            trained: The trained scales of the model, ascending.
            method: See `Method`.

        Raises:
            ScaleError: The target is more than 8 times the input.
        """
        if self.factor > MAX_SCALE:
            raise ScaleError(
                f"{self.width}x{self.height} is {self.factor:.4g} times the input; the"
                f" largest possible scale is {MAX_SCALE}"
            )
        if self.factor.is_integer() or (method == "native" and self.factor >= 1):
            return self.factor
        whole = math.ceil(self.factor)
        near = [scale for scale in trained if whole <= scale <= 2 * whole]
        return near[0] if near else whole


def upscale_to(
    model: SpanPPDescriptor,
    image: Tensor,
    target: Target,
    *,
    method: Method = "downscale",
    tile: int | None = None,
    on_progress: Progress | None = None,
    out: Tensor | None = None,
    memory: int | None = None,
) -> Tensor:
    """Upscales images to a size, by one run of the network and at most one resize.

    Args:
        model: What `load` returned; the scale it is bound to does not matter.
        image: (N, C, H, W) in [0, 1], as for `upscale`.
        target: The size, made from the height and width of ``image``.
        method: How a fractional factor is reached, see `Method`.
        tile: As for `upscale`.
        on_progress: As for `upscale`, over all images.
        out: Where to write, (N, C, target.height, target.width), as for `upscale`.
        memory: As for `upscale`.

    Returns:
        ``out``, or a new tensor like it in the dtype and on the device of ``image``.

    Raises:
        ScaleError: The target is more than 8 times the input.
        ValueError, MemoryError: As for `upscale`.

    Example:
        >>> import spanpp_core, torch
        >>> model = spanpp_core.load(spanpp_core.bundled_model())
        >>> image = torch.rand(1, 3, 20, 30)
        >>> target = spanpp_core.Target.fit(20, 30, 100, 100)
        >>> spanpp_core.upscale_to(model, image, target).shape
        torch.Size([1, 3, 67, 100])
    """
    view = model.at_scale(target.scale(model.scales, method))
    n, channels, height, width = image.shape
    size = (target.height, target.width)
    if output_size(height, width, view.scale) == size:
        return upscale(view, image, tile, on_progress, out=out, memory=memory)
    if out is None:
        out = image.new_empty(n, result_channels(model, channels), *size)
    for i in range(n):  # one at a time: the larger image is not what was asked for
        report = None if on_progress is None else _part(on_progress, i, n)
        larger = upscale(view, image[i : i + 1], tile, report, memory=memory)
        out[i].copy_(resize(larger, size)[0])
    return out


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes (N, C, H, W) to ``size`` (height, width): antialiased bicubic, clamped."""
    resized = F.interpolate(
        image.float(), size, mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp_(0, 1).to(image.dtype)


def _part(on_progress: Progress, index: int, count: int) -> Progress:
    """Progress within one of several images as progress over all of them."""
    return lambda done, total: on_progress(index * total + done, count * total)
