"""The body of SpanPP: everything before the upsampler, as its definition.

The caller chooses what each 3x3 layer of `Body` is: a plain convolution to run (`RepConv`,
in `SpanPP`), or three branches to train (`SpanPPBranches`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from .hyperparameters import Hyperparameters

BODY_RADIUS = 1 + 6 * 3 + 1
"""How far the body sees, in pixels: conv0, six blocks of three convolutions, conv_2."""


class RepConv(nn.Module):
    """A 3x3 convolution, named like the fused convolution of public checkpoints."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_3x3_rep = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.conv_3x3_rep(x)


class SPAB(nn.Module):
    """Swift parameter-free attention block (SPAN, Apache-2.0)."""

    def __init__(self, channels: int, conv: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.c1_r = conv(channels, channels)
        self.c2_r = conv(channels, channels)
        self.c3_r = conv(channels, channels)

    @override
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the block's output and the activated output of its first convolution.

        The published network activates in place, so its second output is the output of
        the convolution after silu, not before; trained weights depend on it.
        """
        inplace = not torch.is_grad_enabled()
        o1 = F.silu(self.c1_r(x), inplace=inplace)
        o3 = self.c3_r(F.silu(self.c2_r(o1), inplace=inplace))
        if inplace:
            attention = o3.sigmoid().sub_(0.5)
            return o3.add_(x).mul_(attention), o1
        return (o3 + x) * (o3.sigmoid() - 0.5), o1


class Body(nn.Module):
    """Everything before the upsampler: from the image to the features.

    Args:
        hyper: Sizes of the network.
        conv: Makes a 3x3 convolution with padding from its input and output channels.
    """

    def __init__(
        self, hyper: Hyperparameters, conv: Callable[[int, int], nn.Module]
    ) -> None:
        super().__init__()
        c = hyper.channels
        self.conv0 = conv(hyper.in_channels, c)
        self.block_1 = SPAB(c, conv)
        self.block_2 = SPAB(c, conv)
        self.block_3 = SPAB(c, conv)
        self.block_4 = SPAB(c, conv)
        self.block_5 = SPAB(c, conv)
        self.block_6 = SPAB(c, conv)
        self.conv_2 = conv(c, c)
        self.conv_cat = nn.Conv2d(4 * c, c, 1)

    def features(self, x: Tensor) -> Tensor:
        """Computes the features.

        Args:
            x: (N, in_channels, H, W) in [0, 1].

        Returns:
            (N, C, H, W)
        """
        return self.conv_cat(self.maps(x))

    def maps(self, x: Tensor) -> Tensor:
        """Computes the four maps that are joined to features: (N, 4 * C, H, W)."""
        f0 = self.conv0(x)
        b1, b, o1 = self.blocks(f0)
        return torch.cat([f0, self.conv_2(b), b1, o1], dim=1)

    def blocks(self, f0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the output of the first block, and both outputs of the last one."""
        b1 = self.block_1(f0)[0]
        del f0  # frees it if the caller holds no reference
        b = b1
        for block in (self.block_2, self.block_3, self.block_4, self.block_5):
            b = block(b)[0]
        b, o1 = self.block_6(b)
        return b1, b, o1
