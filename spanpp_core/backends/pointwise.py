"""What lies between two convolutions, in PyTorch: a pass over memory per operation.

`triton_kernels` and `jiterator_kernels` compute the same in one pass each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def add_bias(y: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns ``y + bias`` in ``dtype``; ``y`` (N, C, H, W) is written to."""
    return y.add_(_column(bias)).to(dtype)


def silu_(y: Tensor, bias: Tensor) -> Tensor:
    """Returns ``silu(y + bias)``, written to ``y`` (N, C, H, W)."""
    return F.silu(y.add_(_column(bias)), inplace=True)


def residual_gate_(y: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """Returns ``(o + x) * (sigmoid(o) - 1/2)`` for ``o = y + bias``, written to ``y``."""
    attention = y.add_(_column(bias)).sigmoid().sub_(0.5)
    return y.add_(x).mul_(attention)


def sum_bias_(
    maps: tuple[Tensor, Tensor, Tensor], bias: Tensor, last: Tensor
) -> Tensor:
    """Returns the sum of three maps, a bias and ``last``, written to ``last``."""
    for each in maps:
        last.add_(each)
    return last.add_(_column(bias))


def _column(bias: Tensor) -> Tensor:
    return bias.view(1, -1, 1, 1)
