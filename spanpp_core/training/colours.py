"""What a network makes of flat colours, for as little as a few pixels cost.

Inside a flat area each convolution sees the same value under all of its taps: it does
there what a 1x1 convolution with their sum does. One image whose pixels are the colours,
and sums of taps in place of kernels, say what becomes of each of them.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from ..network.autocast import autocast_disabled
from ..network.body import Body
from ..network.trainable import TrainableSpanPP

POSITIONS = 3
"""Along each side of a cell: the kernels of all would take as long as the step."""

_STEPS = (7549, 5698)
"""By how much positions move from step to step, in ten thousandths of a side: the powers of
1 / 1.3247 (the plastic number), which fill a square evenly (Roberts, 2018)."""


def flat_colours() -> Tensor:
    """Returns colours of all kinds, 60 greys among them: (464, 3) in [0, 1]."""
    made = torch.rand(400, 3, generator=torch.Generator().manual_seed(0))
    made[:60] = made[:60, :1]
    return torch.cat([made, torch.cartesian_prod(*[torch.linspace(0, 1, 4)] * 3)])


@functools.cache
def _pixels(device: torch.device) -> Tensor:
    """The colours as one row of an image: (1, 3, 1, 464)."""
    return flat_colours().T[None, :, None].to(device)


def kernel_inside_flat(weight: Tensor) -> Tensor:
    """Returns a 3x3 kernel that does to a pixel what ``weight`` does inside a flat area.

    There all taps see the same value: the middle one is their sum, the others are 0.
    """
    return F.pad(weight.sum((2, 3), keepdim=True), (1, 1, 1, 1))


class _Features(nn.Module):
    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.body.features(x)


def positions(turn: Tensor) -> Tensor:
    """Returns where colours are looked at: all over the cell, as turns go by.

    Args:
        turn: A whole number, a scalar on any device.

    Returns:
        Rows and columns, (2, `POSITIONS`), in [-1, 1), evenly spaced.
    """
    spaced = torch.arange(POSITIONS, device=turn.device) * 10_000 // POSITIONS
    moved = torch.stack([turn * step + spaced for step in _STEPS])
    return (moved % 10_000).float() / 5_000 - 1


def colour_shift(network: TrainableSpanPP, scale: float, at: Tensor) -> Tensor:
    """Returns by how much flat colours are shifted, on average over places in a cell.

    Args:
        network: In the plain form, which has no branches.
        scale: In [1, 8].
        at: Rows and columns of these places, (2, N), in [-1, 1].

    Returns:
        The mean absolute shift, a scalar; differentiable in every parameter.
    """
    inside = {
        f"body.{name}": kernel_inside_flat(each)
        for name, each in network.named_parameters()
        if each.shape[2:] == (3, 3)
    }
    pixels = _pixels(network.conv_cat.weight.device)
    with autocast_disabled(pixels.device.type):
        features = torch.func.functional_call(_Features(network), inside, pixels)
        taps = network.upsampler.kernels_at(at[0], at[1], scale).sum((2, 3))
        made = F.linear(features[0, :, 0].T, taps)  # (464, 3 * positions)
    return (made.view(len(made), 3, -1) - pixels[0, :, 0].T[:, :, None]).abs().mean()
