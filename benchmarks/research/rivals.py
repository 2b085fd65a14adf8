"""Networks that are trained side by side, for `stability.py` and `budget.py`.

All of them train in weight space: what they call a Conv3XC is the bottleneck branch of
ours, fused inside the graph to the same values and gradients at a fraction of the time.
"""

from __future__ import annotations

import importlib
from functools import partial

import torch
import torch.nn.functional as F
from spandrel.architectures.__arch_helpers.dysample import DySample
from spandrel.architectures.SPAN import SPAN
from torch import Tensor, nn

from spanpp_core.network.branches import RepConvBranches, SpanPPBranches
from spanpp_core.network.hyperparameters import Hyperparameters
from spanpp_core.network.reparam import fuse_bottleneck


def span(scale: int, channels: int, *, norm: bool) -> nn.Module:
    """SPAN as spandrel has it.

    Args:
        scale: The only one it can do.
        channels: C.
        norm: Whether it subtracts a mean colour and multiplies by 255 first.
    """
    network = SPAN(
        num_in_ch=3,
        num_out_ch=3,
        feature_channels=channels,
        upscale=scale,
        norm=norm,
    )
    return in_weight_space(network)


def spanplus(scale: int, channels: int) -> nn.Module:
    """SPANPlus as resselt has it, with DySample, its default upsampler.

    resselt's copy of DySample pins memory and so needs CUDA; spandrel's is the same
    without that.
    """
    arch = importlib.import_module("resselt.archs.spanplus.arch")
    network = arch.SpanPlus(feature_channels=channels, upscale=scale, upsampler="ps")
    network.upsampler = DySample(channels, 3, scale)
    return in_weight_space(network)


def spanpp(channels: int, alpha: float) -> SpanPPBranches:
    """SpanPP for scales 1 to 4, each branch's share starting at ``alpha``."""
    return SpanPPBranches(Hyperparameters(channels=channels), alpha)


def spanpp_as_plain(channels: int, alpha: float) -> SpanPPBranches:
    """The same, each fused kernel scaled to the spread of a new plain convolution."""
    network = spanpp(channels, alpha)
    for module in network.modules():
        if isinstance(module, RepConvBranches):
            with torch.no_grad():
                wanted = (3 * module.conv2.weight[0].numel()) ** -0.5
                factor = wanted / module.fused().weight.std()
                for last in (module.conv2, module.conv3.sk, module.conv3.conv[2]):
                    last.weight *= factor
                    last.bias *= factor
                module.conv1.k1 *= factor
                module.conv1.b1 *= factor
    return network


def in_weight_space(network: nn.Module) -> nn.Module:
    """Makes every Conv3XC of a network fuse its weights first when it is run."""
    for module in list(network.modules()):
        if type(module).__name__ == "Conv3XC":
            del module.eval_conv  # what it caches for inference
            module.forward = partial(_fused, module)
    return network


def _fused(conv: nn.Module, x: Tensor) -> Tensor:
    branches = (conv.sk, *conv.conv)
    kernel = fuse_bottleneck(*(t for b in branches for t in (b.weight, b.bias)))
    return F.conv2d(x, *kernel, padding=1)
