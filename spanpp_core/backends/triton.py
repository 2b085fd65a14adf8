"""The network on CUDA and ROCm: PyTorch's convolutions, and Triton between them.

The convolutions run without their bias; one Triton kernel does everything that lies between
two of them. That halves the memory traffic of a frame. It takes images of any size, and
compiles in about a second.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..network.ends import conv_layout, end_dtype
from ..network.model import SpanPP
from ..network.scale import Window

if TYPE_CHECKING:
    from types import ModuleType

SELF_CHECK_SIZE = (20, 24)
"""Height and width of the image that the kernels are checked on before their first use."""

SELF_CHECK_TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}
"""
The largest difference from PyTorch that is rounding, relative to the largest feature.
A kernel that was compiled wrongly for a new GPU is off by far more.
"""


class _Conv(NamedTuple):
    weight: Tensor
    bias: Tensor


class TritonRunner:
    """A network with its weights in the layout of the GPU's convolutions.

    Args:
        network: On a CUDA or ROCm device; a copy of its weights is kept.

    Raises:
        Exception: Triton is not installed, cannot compile for this GPU, or computes
            something else than PyTorch on a small image.
    """

    def __init__(self, network: SpanPP) -> None:
        from . import triton_kernels  # noqa: PLC0415 - needs an optional package

        device = network.conv_cat.weight.device
        if device.type != "cuda" and not triton_kernels.IS_INTERPRETED:
            raise ValueError(f"Triton runs on CUDA and ROCm devices, not on {device}")
        self._kernels: ModuleType = triton_kernels
        self._dtype = network.dtype
        self._layout = conv_layout(device, network.dtype)

        def conv(name: str) -> _Conv:
            weight = network.get_parameter(f"{name}.conv_3x3_rep.weight").detach()
            bias = network.get_parameter(f"{name}.conv_3x3_rep.bias").detach()
            return _Conv(weight.contiguous(memory_format=self._layout), bias)

        self._first = conv("conv0")
        self._blocks = [
            [conv(f"block_{block}.{name}") for name in ("c1_r", "c2_r", "c3_r")]
            for block in range(1, 7)
        ]
        last = network.last_layers()
        self._bias = last.bias.detach()

        def part(weight: Tensor, dtype: torch.dtype) -> Tensor:
            return weight.detach().to(dtype, memory_format=self._layout)

        self._of_image = part(last.image, end_dtype(network.dtype))
        self._of_maps = [
            part(weight, network.dtype)
            for weight in (last.last_block, last.first_block, last.last_activation)
        ]
        self._check(network)

    def region(self, network: SpanPP) -> Callable[[Tensor, Fraction, Window], Tensor]:
        """Returns what computes `SpanPP.region` with this network's weights."""

        def region(x: Tensor, scale: Fraction, window: Window) -> Tensor:
            return network.pixels(self.features(x), scale, window).to(x.dtype)

        return region

    def trim(self) -> None:
        """Nothing: no memory is kept between runs but the weights."""

    def features(self, x: Tensor) -> Tensor:
        """Computes `SpanPP.features`."""
        kernels = self._kernels
        x = x.to(end_dtype(self._dtype)).contiguous(memory_format=self._layout)
        f0 = kernels.add_bias(
            F.conv2d(x, self._first.weight, padding=1), self._first.bias, self._dtype
        )
        b1, _ = self._block(0, f0)
        del f0
        b, o1 = b1, b1
        for index in range(1, len(self._blocks)):
            b, o1 = self._block(index, b)
        # each map goes as soon as it was read: four are in memory at most
        body, first_block, activation = self._of_maps
        y = F.conv2d(b, body, padding=1)
        del b
        y1 = F.conv2d(b1, first_block)
        del b1
        y2 = F.conv2d(o1, activation)
        del o1
        last = F.conv2d(x, self._of_image, padding=1)
        return kernels.sum_bias_((y, y1, y2), self._bias, last)

    def _block(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Computes `SPAB.forward`."""
        c1, c2, c3 = self._blocks[index]
        kernels = self._kernels
        o1 = kernels.silu_(F.conv2d(x, c1.weight, padding=1), c1.bias)
        o2 = kernels.silu_(F.conv2d(o1, c2.weight, padding=1), c2.bias)
        o3 = F.conv2d(o2, c3.weight, padding=1)
        return kernels.residual_gate_(o3, c3.bias, x), o1

    def _check(self, network: SpanPP) -> None:
        """Raises an error if the result is not that of PyTorch, to rounding."""
        device = self._bias.device
        generator = torch.Generator().manual_seed(0)
        shape = (1, network.hyper.in_channels, *SELF_CHECK_SIZE)
        image = torch.rand(shape, generator=generator).to(device)
        with torch.no_grad():
            made, expected = self.features(image), network.features(image)
        difference = (made - expected).abs().max().item()
        largest = expected.abs().max().item()
        if not difference <= SELF_CHECK_TOLERANCE[self._dtype] * largest:  # or NaN
            raise RuntimeError(
                f"the result of the Triton kernels is off by {difference:.2g}, where the"
                f" largest value is {largest:.2g}"
            )
