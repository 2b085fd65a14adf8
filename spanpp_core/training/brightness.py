"""Brightness put right after training: of photos on average, and of flat colours.

L1 asks for the median of each pixel and bfloat16 rounds on the way, so that trained
networks come out darker or brighter than the original by a few tenths of 1/255, at every
scale and in every colour by another amount. What the last 1x1 convolution of the body makes
of an even area reaches the pixels of every scale by a linear map, the sum of a kernel's
taps: least squares over colours and scales finds the change of that convolution that puts
them right together.
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
from .colours import flat_colours, kernel_inside_flat
from .degradation import DEGRADATIONS
from .patches import Batch, Patches
from .scale_draw import ScaleDraw

PAIRS = 64
"""Pairs of patches at each scale that the shift is measured on."""

PATCH = 48
"""Side of them at low resolution, at most: larger ones take longer and say the same."""

RIDGE = 0.03
"""The share of the largest singular value of `reach_of` below which directions are left
alone: there a large change would follow the accidents of the patches."""

COLOUR_RIDGE = 1e-3
"""The same of what the maps are in each colour: the convolution changes by 2 %."""

PHOTOS = 30.0
"""How many colours the mean of the photos counts for."""

_ROUNDS = 2
"""The ridges leave a part of the shift; a second round corrects most of it."""


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
    """Returns a copy that makes photos and flat colours as bright as they are.

    Args:
        network: In its training form, float32; it is left as it is.
        batches: Photos, by scale: their mean at each of these scales is put right, and
            colours are at the same scales.
    """
    made = copy.deepcopy(network)
    weight, bias = (made.conv_cat.get_parameter(n) for n in ("weight", "bias"))
    kept = {scale: list(some) for scale, some in batches.items()}
    first = next(iter(kept.values()))
    colours = flat_colours()
    with exact_float32(weight.device):
        # neither what reaches the pixels nor the maps change with the convolution
        reach = torch.cat([reach_of(made, scale) for scale in kept]).cpu().double()
        flat = mean_maps(inside_flat(made), colours[:, :, None, None])
        photos = [mean_maps(made, batch.unit(bias.device)[0]) for batch in first]
        photo = torch.cat(photos).mean(0, keepdim=True)
        to_features = ridge_inverse(reach, RIDGE).T
        to_change = ridge_inverse(torch.cat([flat, PHOTOS * photo]), COLOUR_RIDGE)
        for _ in range(_ROUNDS):
            joined = torch.cat([weight.flatten(1).T, bias[None]]).detach()
            shift = flat @ joined.cpu().double() @ reach.T
            shift -= colours.double().repeat(1, len(kept))
            photo_shift = torch.cat([*shifts(made, kept).values()]).cpu().double()
            every = torch.cat([shift, PHOTOS * photo_shift[None]])
            change = to_change @ (every @ to_features)  # (4 * C + 1, C)
            with torch.no_grad():
                weight -= change[:-1].T.reshape(weight.shape).to(weight)
                bias -= change[-1].to(bias)
    return made


def inside_flat(network: TrainableSpanPP) -> TrainableSpanPP:
    """Returns a copy that makes of each pixel what becomes of a flat area around it."""
    made = copy.deepcopy(network)
    with torch.no_grad():
        for each in made.parameters():
            if each.shape[2:] == (3, 3):
                each.copy_(kernel_inside_flat(each))
    return made


def mean_maps(network: TrainableSpanPP, low: Tensor) -> Tensor:
    """Returns the mean of `Body.maps` over each image, and 1: (N, 4 * C + 1)."""
    with torch.no_grad():
        maps = network.maps(low.to(network.conv_cat.weight))
    mean = maps.mean((2, 3)).cpu().double()
    return torch.cat([mean, torch.ones(len(mean), 1).double()], 1)


def ridge_inverse(matrix: Tensor, ridge: float) -> Tensor:
    """Returns the inverse of a matrix in the directions in which it is not small."""
    linalg: Any = torch.linalg
    left, values, right = linalg.svd(matrix, full_matrices=False)
    damped = values / (values.square() + (ridge * values[0]) ** 2)
    return right.T @ (damped[:, None] * left.T)


def reach_of(network: TrainableSpanPP, scale: Fraction) -> Tensor:
    """Returns how each value of the last bias moves the mean of R, G and B: (3, C)."""
    low = torch.zeros(1, network.hyper.in_channels, 8, 8)
    low = low.to(network.conv_cat.weight)
    bias = network.conv_cat.get_parameter("bias")
    edge = -(-2 * scale.numerator // scale.denominator)  # what zero padding reaches
    inside = network(low, float(scale))[..., edge:-edge, edge:-edge].mean((0, 2, 3))
    return torch.stack(
        [torch.autograd.grad(each, bias, retain_graph=True)[0] for each in inside]
    )
