"""Validation: PSNR on photos that a network does not learn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from statistics import mean

import torch.nn.functional as F
from torch import Tensor

from ..descriptor import load
from ..engine.size import Size
from ..engine.upscaling import upscale
from ..metrics import psnr_y
from ..network.trainable import TrainableSpanPP
from ..resize import resize


def downscaled(photo: Tensor, scale: Fraction) -> tuple[Tensor, Tensor]:
    """Returns a low-resolution image (1, 3, h, w) and the photo that it was made from.

    It is an antialiased bicubic downscale, rounded to 8 bits as image files are. The photo
    is cropped so that the scale divides its sides.
    """
    p, q = scale.numerator, scale.denominator
    height, width = (side // p * p for side in photo.shape[-2:])
    full = photo[..., :height, :width]
    low = resize(full, (height // p * q, width // p * q))
    return low.mul(255).round().div(255), full


def psnr_by_scale(
    network: TrainableSpanPP, photos: Sequence[Tensor], scales: Sequence[Fraction]
) -> dict[str, float]:
    """Returns the mean PSNR on Y in dB at each scale, a border of ceil(s) left out.

    What is measured is the fused form, tile by tile, where the network is.

    Args:
        network: In its training form.
        photos: (1, 3, H, W) each, in [0, 1].
        scales: Exact.
    """
    device = network.conv_cat.weight.device
    model = load(network.fused_state_dict(), device=device).with_backend("torch")

    def upscaled(low: Tensor, scale: Fraction) -> Tensor:
        return upscale(model, low, size=Size(factor=float(scale)), fractional="native")

    return _scores(upscaled, photos, scales)


def bicubic_by_scale(
    photos: Sequence[Tensor], scales: Sequence[Fraction]
) -> Mapping[str, float]:
    """Returns what `psnr_by_scale` does, of bicubic interpolation."""

    def upscaled(low: Tensor, scale: Fraction) -> Tensor:
        size = [int(side * scale) for side in low.shape[-2:]]
        return F.interpolate(low, size, mode="bicubic")

    return _scores(upscaled, photos, scales)


def _scores(
    upscaled: Callable[[Tensor, Fraction], Tensor],
    photos: Sequence[Tensor],
    scales: Sequence[Fraction],
) -> dict[str, float]:
    found: dict[str, float] = {}
    for scale in scales:
        scores: list[float] = []
        for photo in photos:
            low, full = downscaled(photo, scale)
            made = upscaled(low, scale).clamp(0, 1)
            scores.append(psnr_y(made, full, math.ceil(scale)))
        found[f"psnr_y/x{float(scale):.4g}"] = mean(scores)
    return found
