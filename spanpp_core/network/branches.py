"""SpanPP as it is trained: three branches in place of every 3x3 convolution.

Parameter names are those of public training checkpoints. The fused kernels that these
hold too (``conv_3x3_rep``, ``eval_conv``) follow from the branches;
`SpanPPBranches.published_fused_kernels` makes them for programs that expect them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from .autocast import autocast_disabled
from .hyperparameters import Hyperparameters
from .reparam import BRANCH_TENSORS, BRANCHES, Conv3x3, fuse, fuse_bottleneck
from .trainable import InItsDtype, TrainableSpanPP

PUBLISHED_ALPHA = 1.0
"""The published initial weight of each branch. The fused kernel then has 1.2 times the
standard deviation of a newly initialised convolution."""

STEADY_ALPHA = 1 / 3
"""The initial weight from which new networks train more steadily (docs/stability.md)."""


class _Expanded(nn.Module):
    """1x1 to twice the output channels, then 3x3."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        first = nn.Conv2d(in_channels, 2 * out_channels, 1)
        second = nn.Conv2d(2 * out_channels, out_channels, 3)
        self.k0, self.b0 = first.weight, first.bias
        self.k1, self.b1 = second.weight, second.bias

    @override
    def forward(self, x: Tensor) -> Tensor:
        # Zero pixels around the input become pixels of b0 around the 1x1's output.
        y = F.conv2d(F.pad(x, (1, 1, 1, 1)), self.k0, self.b0)
        return F.conv2d(y, self.k1, self.b1)


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1, and a 1x1 skip beside them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.sk = nn.Conv2d(in_channels, out_channels, 1)
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, 2 * in_channels, 1),
            nn.Conv2d(2 * in_channels, 2 * out_channels, 3),
            nn.Conv2d(2 * out_channels, out_channels, 1),
        )
        nn.init.trunc_normal_(self.sk.weight, std=0.02)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (1, 1, 1, 1))) + self.sk(x)


class RepConvBranches(nn.Module):
    """``alpha[0] * expanded + alpha[1] * plain + alpha[2] * bottleneck``.

    Running it fuses the weights first, inside the graph: values and gradients are those
    of `run_branches`, and one convolution runs over the pixels instead of seven.
    """

    def __init__(
        self, in_channels: int, out_channels: int, alpha: float = PUBLISHED_ALPHA
    ) -> None:
        super().__init__()
        self.conv1 = _Expanded(in_channels, out_channels)
        self.conv2 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv3 = _Bottleneck(in_channels, out_channels)
        self.alpha = nn.Parameter(torch.full((3,), alpha))
        self.given: Conv3x3 | None = None
        """The fused convolution, while `SpanPPBranches` runs; see `fused_together`."""

    def fused(self) -> Conv3x3:
        """Returns the equivalent 3x3 convolution; differentiable.

        In the dtype of the weights, even under autocast: half precision is meant for the
        pixels, and rounding every factor would change the kernel.
        """
        with autocast_disabled(self.alpha.device.type):
            return fuse({name: self.get_parameter(name) for name in BRANCH_TENSORS})

    def fused_bottleneck(self) -> Conv3x3:
        """Returns the 3x3 convolution that equals the third branch alone."""
        names = BRANCHES["bottleneck"]
        return fuse_bottleneck(*(self.get_parameter(name) for name in names))

    def plain_for(self, fused: Conv3x3) -> Conv3x3:
        """Returns the plain branch that makes the three fuse to ``fused``."""
        mine, share = self.fused(), self.alpha[1]
        weight = self.conv2.weight + (fused.weight - mine.weight) / share
        bias = self.conv2.get_parameter("bias") + (fused.bias - mine.bias) / share
        return Conv3x3(weight.detach(), bias.detach())

    def run_branches(self, x: Tensor) -> Tensor:
        """Runs the three branches one by one: the definition that `fused` equals."""
        a, b, c = self.alpha.unbind()
        return a * self.conv1(x) + b * self.conv2(x) + c * self.conv3(x)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, *(self.given or self.fused()), padding=1)


def fused_together(convs: Sequence[RepConvBranches]) -> list[Conv3x3]:
    """Returns what `RepConvBranches.fused` says of each, by a few large products.

    Convolutions of one shape are fused as one batch: on a GPU that is a fifth of the
    launches, and on a processor larger matrices.
    """
    alike: dict[torch.Size, list[int]] = {}
    for index, conv in enumerate(convs):
        alike.setdefault(conv.conv2.weight.shape, []).append(index)
    found: dict[int, Conv3x3] = {}
    for indices in alike.values():
        stacked = {
            name: torch.stack([convs[i].get_parameter(name) for i in indices])
            for name in BRANCH_TENSORS
        }
        with autocast_disabled(convs[0].alpha.device.type):
            weights, biases = torch.vmap(fuse)(stacked)
        for index, weight, bias in zip(indices, weights, biases):
            found[index] = Conv3x3(weight, bias)
    return [found[index] for index in range(len(convs))]


class _FirstConv(InItsDtype, RepConvBranches):
    """The convolution that reads the image."""


class SpanPPBranches(TrainableSpanPP):
    """The training network with three branches in place of every 3x3 convolution.

    Args:
        hyper: Sizes and trained scales.
        alpha: The initial weight of each branch.
    """

    def __init__(self, hyper: Hyperparameters, alpha: float = PUBLISHED_ALPHA) -> None:
        super().__init__(
            hyper,
            partial(RepConvBranches, alpha=alpha),
            partial(_FirstConv, alpha=alpha),
        )

    @override
    def forward(self, x: Tensor, scale: float | None = None) -> Tensor:
        """As `TrainableSpanPP`, with the convolutions of one shape fused in one go."""
        convs = [conv for _, conv in self._convs()]
        for conv, given in zip(convs, fused_together(convs)):
            conv.given = given
        try:
            return super().forward(x, scale)
        finally:
            for conv in convs:
                conv.given = None

    @override
    def fused_state_dict(self) -> dict[str, Tensor]:
        """Returns the state dict of the equivalent inference network, detached."""
        state: dict[str, Tensor] = {}
        for name, conv in self._convs():
            state |= _named(f"{name}.conv_3x3_rep", conv.fused())
        for name, tensor in self.state_dict().items():
            if name.startswith(("conv_cat.", "upsampler.", "MetaIGConv")):
                state[name] = tensor
        return state

    def published_fused_kernels(self) -> dict[str, Tensor]:
        """Returns the fused kernels that public training checkpoints hold as well.

        For each convolution, the fused kernel and the fused third branch; detached and
        contiguous. Some programs recognise the network by these names.
        """
        state: dict[str, Tensor] = {}
        for name, conv in self._convs():
            state |= _named(f"{name}.conv3.eval_conv", conv.fused_bottleneck())
            state |= _named(f"{name}.conv_3x3_rep", conv.fused())
        return state

    def branches_for(self, fused: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns branches that fuse to given kernels.

        A fused kernel does not say what its branches were. The expanded and bottleneck
        branches keep their values, and the plain branch takes up the difference.

        Args:
            fused: The ``*.conv_3x3_rep.*`` tensors of a fused checkpoint.
        """
        state: dict[str, Tensor] = {}
        for name, conv in self._convs():
            weight, bias = (
                fused[f"{name}.conv_3x3_rep.{part}"].to(conv.alpha)
                for part in ("weight", "bias")
            )
            for part in BRANCH_TENSORS:
                state[f"{name}.{part}"] = conv.get_parameter(part).detach()
            state |= _named(f"{name}.conv2", conv.plain_for(Conv3x3(weight, bias)))
        return state

    def _convs(self) -> Iterator[tuple[str, RepConvBranches]]:
        for name, module in self.named_modules():  # pyright: ignore
            if isinstance(module, RepConvBranches):
                yield name, module


def _named(name: str, conv: Conv3x3) -> dict[str, Tensor]:
    return {f"{name}.{part}": value.detach() for part, value in conv._asdict().items()}
