"""Reparameterisation: linear layers become one convolution, exactly.

Pure functions over weights, differentiable, in the dtype they are given. Shapes are
those of `torch.nn.functional.conv2d`: weight (out, in, kh, kw), bias (out,).

The branches are those of SpanPP's RepConv (umzi, MIT): after "ECBSR" (Zhang et al.,
2021) and SPAN's Conv3XC (Wan et al., 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BRANCHES: Mapping[str, tuple[str, ...]] = {
    "expanded": ("conv1.k0", "conv1.b0", "conv1.k1", "conv1.b1"),
    "plain": ("conv2.weight", "conv2.bias"),
    "bottleneck": (
        "conv3.sk.weight",
        "conv3.sk.bias",
        "conv3.conv.0.weight",
        "conv3.conv.0.bias",
        "conv3.conv.1.weight",
        "conv3.conv.1.bias",
        "conv3.conv.2.weight",
        "conv3.conv.2.bias",
    ),
}
"""The tensors of each branch, by their names in public checkpoints."""

BRANCH_TENSORS = ("alpha", *(name for names in BRANCHES.values() for name in names))
"""Every tensor `fuse` needs, relative to the convolution they belong to."""


class Conv3x3(NamedTuple):
    """The weight (out, in, 3, 3) and bias (out,) of a zero-padded 3x3 convolution."""

    weight: Tensor
    bias: Tensor


def fuse(branches: Mapping[str, Tensor]) -> Conv3x3:
    """Fuses the three branches of one convolution into a zero-padded 3x3 one.

    Args:
        branches: The tensors named in `BRANCH_TENSORS`.

    Returns:
        ``alpha[0] * expanded + alpha[1] * plain + alpha[2] * bottleneck``, contiguous
        (safetensors and some trainers refuse to save permuted views).
    """
    a = _then_3x3(*(branches[name] for name in BRANCHES["expanded"]))
    b = Conv3x3(*(branches[name] for name in BRANCHES["plain"]))
    c = fuse_bottleneck(*(branches[name] for name in BRANCHES["bottleneck"]))
    to_a, to_b, to_c = branches["alpha"].unbind()
    weight = to_a * a.weight + to_b * b.weight + to_c * c.weight
    bias = to_a * a.bias + to_b * b.bias + to_c * c.bias
    return Conv3x3(weight.contiguous(), bias.contiguous())


def then_1x1(conv: Conv3x3, weight: Tensor) -> Conv3x3:
    """Composes a 3x3 convolution with a following 1x1 one, ``weight`` (out, mid, 1, 1)."""
    project = weight.flatten(1)  # (out, mid)
    return Conv3x3(
        torch.einsum("om,mihw->oihw", project, conv.weight), project @ conv.bias
    )


def _then_3x3(k0: Tensor, b0: Tensor, k1: Tensor, b1: Tensor) -> Conv3x3:
    """Composes a 1x1 convolution (k0, b0) with a following 3x3 one (k1, b1).

    Exact at borders when the first one's output is padded with b0, which is what it
    gives for a zero pixel.
    """
    weight = torch.einsum("omhw,mi->oihw", k1, k0.flatten(1))
    return Conv3x3(weight, torch.einsum("omhw,m->o", k1, b0) + b1)


def fuse_bottleneck(
    skip: Tensor,
    skip_bias: Tensor,
    k0: Tensor,
    b0: Tensor,
    k1: Tensor,
    b1: Tensor,
    k2: Tensor,
    b2: Tensor,
) -> Conv3x3:
    """Fuses a 1x1 -> 3x3 -> 1x1 bottleneck with a 1x1 skip beside it; contiguous."""
    weight, bias = then_1x1(_then_3x3(k0, b0, k1, b1), k2)
    weight = weight + F.pad(skip, (1, 1, 1, 1))
    return Conv3x3(weight.contiguous(), bias + b2 + skip_bias)
