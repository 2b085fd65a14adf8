"""The mean brightness of what a network makes, put right after training.

L1 asks for the median of each pixel and bfloat16 rounds on the way, so that trained
networks come out darker or brighter than the original by a few tenths of 1/255, at every
scale by another amount. The last bias of the body reaches every pixel of every scale
through the kernels alone: least squares over the scales finds the change that puts them
right together.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ..engine.precision import exact_float32
from ..network.trainable import TrainableSpanPP
from .degradation import DEGRADATIONS
from .patches import Batch, Patches, ScaleDraw

PAIRS = 64
"""Pairs of patches at each scale that the shift is measured on."""

PATCH = 48
"""Side of them at low resolution, at most: larger ones take longer and say the same."""

RIDGE = 0.03
"""The share of the largest singular value below which directions are left alone: there a
large change would follow the accidents of the patches (ridge regression)."""


def brightness_batches(patches: Patches) -> dict[Fraction, list[Batch]]:
    """Returns batches of every trained scale: of any part of a photo, not degraded."""
    at_once = replace(
        patches,
        batch=PAIRS,
        patch=min(PATCH, patches.patch),
        degradation=DEGRADATIONS["none"],
        choices=1,
        flat=0.0,
    )
    return {
        scale: [replace(at_once, draw=ScaleDraw((scale,), (1.0,)))[0]]
        for scale in patches.draw.scales
    }


def shifts(
    network: TrainableSpanPP, batches: Mapping[Fraction, Iterable[Batch]]
) -> dict[Fraction, Tensor]:
    """Returns the mean of made minus original by scale: (3,) each, R, G and B."""
    at = network.conv_cat.weight.device

    def shift(batch: Batch) -> Tensor:
        low, high = batch.unit(at)
        return (network(low, float(batch.scale)) - high).mean((0, 2, 3))

    with torch.no_grad(), exact_float32(at):
        return {
            scale: torch.stack([shift(batch) for batch in some]).mean(0)
            for scale, some in batches.items()
        }


def balanced(
    network: TrainableSpanPP, batches: Mapping[Fraction, Iterable[Batch]]
) -> TrainableSpanPP:
    """Returns a copy whose mean brightness is that of the originals, at every scale.

    Args:
        network: In its training form, float32; it is left as it is.
        batches: What is measured, by scale; read once.
    """
    made = copy.deepcopy(network)
    bias = made.conv_cat.get_parameter("bias")
    shift = torch.cat([*shifts(made, batches).values()]).cpu().double()  # (3 * scales,)
    with exact_float32(bias.device):  # (3 * scales, C)
        reach = torch.cat([_reach(made, scale) for scale in batches]).cpu().double()
    square = reach @ reach.T
    linalg: Any = torch.linalg
    largest = float(linalg.matrix_norm(reach, 2))
    ridge = torch.eye(len(square)).to(square) * (RIDGE * largest) ** 2
    solved: Tensor = linalg.solve(square + ridge, shift)
    change: Tensor = reach.T @ solved
    with torch.no_grad():
        bias -= change.to(bias)
    return made


def _reach(network: TrainableSpanPP, scale: Fraction) -> Tensor:
    """Returns how each value of the last bias moves the mean of R, G and B: (3, C)."""
    low = torch.zeros(1, network.hyper.in_channels, 8, 8)
    low = low.to(network.conv_cat.weight)
    bias = network.conv_cat.get_parameter("bias")
    edge = -(-2 * scale.numerator // scale.denominator)  # what zero padding reaches
    inside = network(low, float(scale))[..., edge:-edge, edge:-edge].mean((0, 2, 3))
    return torch.stack(
        [torch.autograd.grad(each, bias, retain_graph=True)[0] for each in inside]
    )
