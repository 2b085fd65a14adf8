"""The network on CUDA and ROCm, with its weights prepared once.

The weights are laid out as the GPU's convolutions want them, which otherwise takes a launch
per convolution and call, and the last layers are composed, which takes 17. The convolutions
run without their bias: cuDNN adds it in a pass of its own, which can do more than that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..network.end_layers import conv_layout, end_dtype, laid_out
from ..network.model import SpanPP
from ..network.scale import Window
from . import pointwise

SELF_CHECK_IMAGES = (2, 20, 24)
"""Number, height and width of the images that kernels are checked on before their first use."""

SELF_CHECK_TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}
"""
The largest difference from PyTorch that is rounding, relative to the largest feature.
A kernel that was compiled wrongly for a new GPU is off by far more.
"""

TENSOR_CORE_CHANNELS = 64
"""cuDNN has its best kernels for maps whose channels are a multiple of this."""

WIDER_PAYS = 1.2
"""How many times as fast wider maps must be: there is more to do between convolutions."""


class _Conv(NamedTuple):
    weight: Tensor
    bias: Tensor


class PreparedRunner:
    """A network with its weights in the layout of its device's convolutions.

    Args:
        network: A copy of its weights is kept.
    """

    def __init__(self, network: SpanPP) -> None:
        device = network.conv_cat.weight.device
        self._pointwise: ModuleType = pointwise
        """What computes all that lies between two convolutions."""
        self._dtype = network.dtype
        self._layout = conv_layout(device, network.dtype)
        channels = network.hyper.channels
        more = self.map_channels(channels, network.dtype, device) - channels

        def laid_out(weight: Tensor, outputs: int) -> Tensor:
            inputs = more if weight.shape[1] == channels else 0
            wider = F.pad(weight, (0, 0, 0, 0, 0, inputs, 0, outputs))
            return wider.contiguous(memory_format=self._layout)

        def conv(name: str) -> _Conv:
            weight = network.get_parameter(f"{name}.conv_3x3_rep.weight").detach()
            bias = network.get_parameter(f"{name}.conv_3x3_rep.bias").detach()
            return _Conv(laid_out(weight, more), F.pad(bias, (0, more)))

        self._first = conv("conv0")
        self._blocks = [
            [conv(f"block_{block}.{name}") for name in ("c1_r", "c2_r", "c3_r")]
            for block in range(1, 7)
        ]
        last = network.last_layers()

        def part(weight: Tensor, dtype: torch.dtype) -> Tensor:
            return laid_out(weight.detach().to(dtype), 0)

        self._bias = last.bias.detach()
        self._of_image = part(last.image, end_dtype(network.dtype))
        self._of_maps = [
            part(weight, network.dtype)
            for weight in (last.last_block, last.first_block, last.last_activation)
        ]

    @staticmethod
    def map_channels(channels: int, dtype: torch.dtype, device: torch.device) -> int:
        """As `Runner.map_channels`: what `fastest_width` says."""
        return fastest_width(channels, dtype, device)

    def region(self, network: SpanPP) -> Callable[[Tensor, Fraction, Window], Tensor]:
        """Returns what computes `SpanPP.region` with this network's weights."""

        def region(x: Tensor, scale: Fraction, window: Window) -> Tensor:
            return network.pixels(self.features(x), scale, window)

        return region

    def trim(self) -> None:
        """Nothing: no memory is kept between runs but the weights."""

    def features(self, x: Tensor) -> Tensor:
        """Computes `SpanPP.features`."""
        x = self._image(x)
        f0 = self._first_map(x)
        # no name holds a map longer than it is read: five are in memory at most
        b = b1 = self._block(0, f0)[0]
        del f0
        for index in range(1, len(self._blocks) - 1):
            b = self._block(index, b)[0]
        b, o1 = self._block(len(self._blocks) - 1, b)
        maps = [o1, b1, b]
        del b, b1, o1
        return self._joined(x, maps)

    def _image(self, x: Tensor) -> Tensor:
        """Returns the image as the first and the last layers read it."""
        return laid_out(x, end_dtype(self._dtype), self._layout)

    def _first_map(self, x: Tensor) -> Tensor:
        """Returns what the first block reads."""
        y = F.conv2d(x, self._first.weight, padding=1)
        return self._pointwise.add_bias(y, self._first.bias, self._dtype)

    def _joined(self, x: Tensor, maps: list[Tensor]) -> Tensor:
        """Computes the last layers.

        Args:
            x: As `_image` returns it.
            maps: The last activation, the first block's output and the last one's, as in
                `LastLayers`. The list is emptied, each is freed when it was read.
        """
        body, first_block, activation = self._of_maps
        y = F.conv2d(maps.pop(), body, padding=1)
        y1 = F.conv2d(maps.pop(), first_block)
        y2 = F.conv2d(maps.pop(), activation)
        last = F.conv2d(x, self._of_image, padding=1)
        return self._pointwise.sum_bias_((y, y1, y2), self._bias, last)

    def _block(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Computes `SPAB.forward`."""
        c1, c2, c3 = self._blocks[index]
        pointwise = self._pointwise
        o1 = pointwise.silu_(F.conv2d(x, c1.weight, padding=1), c1.bias)
        o3 = F.conv2d(
            pointwise.silu_(F.conv2d(o1, c2.weight, padding=1), c2.bias),
            c3.weight,
            padding=1,
        )
        return pointwise.residual_gate_(o3, c3.bias, x), o1

    def _check(self, network: SpanPP) -> None:
        """Raises an error if the result is not that of PyTorch, to rounding."""
        device = self._bias.device
        generator = torch.Generator(device).manual_seed(0)
        n, *size = SELF_CHECK_IMAGES
        shape = (n, network.hyper.in_channels, *size)
        image = torch.rand(shape, generator=generator, device=device)
        with torch.no_grad():
            made, expected = self.features(image), network.features(image)
        difference = (made - expected).abs().max().item()
        largest = expected.abs().max().item()
        if not difference <= SELF_CHECK_TOLERANCE[self._dtype] * largest:  # or NaN
            raise RuntimeError(
                f"its result is off by {difference:.2g}, where the largest value is"
                f" {largest:.2g}"
            )


def fastest_width(channels: int, dtype: torch.dtype, device: torch.device) -> int:
    """Returns how many channels maps are to be padded to: as many as there are, or more.

    cuDNN may have no good kernel for the channels of a network. On an H200 a convolution of
    48 channels of float16 takes 2.4 times as long as one of 64. It is timed once, or as
    soon as there is memory for it: until then nothing is padded.
    """
    wider = -(-channels // TENSOR_CORE_CHANNELS) * TENSOR_CORE_CHANNELS
    in_half = dtype in (torch.float16, torch.bfloat16)
    if device.type != "cuda" or not in_half or not channels < wider < 1.5 * channels:
        return channels
    try:
        return wider if _is_faster(wider, channels, dtype, device) else channels
    except RuntimeError:
        return channels


@functools.cache
def _is_faster(
    wider: int, channels: int, dtype: torch.dtype, device: torch.device
) -> bool:
    before, after = (convolution_time(c, dtype, device) for c in (channels, wider))
    return WIDER_PAYS * after < before


def convolution_time(
    channels: int, dtype: torch.dtype, device: torch.device, side: int = 768
) -> float:
    """Returns the milliseconds that a convolution of a square map takes on a CUDA GPU."""
    layout = conv_layout(device, dtype)
    # that of the host stays as it is
    generator = torch.Generator(device).manual_seed(0)
    x, weight = (
        torch.rand(shape, generator=generator, device=device).to(
            dtype, memory_format=layout
        )
        for shape in ((1, channels, side, side), (channels, channels, 3, 3))
    )
    taken: list[float] = []
    with torch.no_grad(), torch.cuda.device(device):
        for _ in range(6):
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            F.conv2d(x, weight, padding=1)
            ended.record()
            ended.synchronize()
            taken.append(began.elapsed_time(ended))
    return min(taken)
