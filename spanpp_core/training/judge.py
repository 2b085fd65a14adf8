"""How good a network is while it is trained: PSNR on photos it does not learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from statistics import mean

import torch
from torch import Tensor

from ..metrics import psnr_y
from ..network.branches import SpanPPBranches
from ..network.model import SpanPP
from ..resize import resize


def degraded(photo: Tensor, scale: Fraction) -> tuple[Tensor, Tensor]:
    """Returns (1, 3, h, w), an antialiased bicubic downscale, and what was scaled down.

    The photo is cropped so that the scale divides its sides.
    """
    p, q = scale.numerator, scale.denominator
    height, width = (side // p * p for side in photo.shape[-2:])
    full = photo[..., :height, :width]
    return resize(full, (height // p * q, width // p * q)), full


def psnr_by_scale(
    network: SpanPPBranches, photos: Sequence[Tensor], scales: Sequence[Fraction]
) -> dict[str, float]:
    """Returns the mean PSNR on Y in dB at each scale, a border of ceil(s) left out.

    Args:
        network: In its training form; what is measured is its fused form.
        photos: (1, 3, H, W) each, in [0, 1].
        scales: Exact.
    """
    fused = SpanPP(network.hyper)
    fused.load_state_dict(network.fused_state_dict())
    device = network.conv_cat.weight.device
    fused.to(device).requires_grad_(False)
    found: dict[str, float] = {}
    with torch.no_grad():
        for scale in scales:
            view = fused.at_scale(float(scale))
            scores: list[float] = []
            for photo in photos:
                low, full = degraded(photo.to(device), scale)
                made = view(low).clamp(0, 1)
                scores.append(psnr_y(made, full, math.ceil(scale)))
            found[f"psnr_y/x{float(scale):.4g}"] = mean(scores)
    return found
