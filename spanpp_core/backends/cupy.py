"""The network on CUDA with a convolution of its own, compiled by CuPy.

cuDNN has no good kernel for 48 channels of float16 on some GPUs. `convolution.cu` is one
for them, with all that is done to its result. It needs no Triton, which is for Linux.
"""

from __future__ import annotations

import functools
import math
from contextlib import suppress
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from ..network.end_layers import end_dtype
from ..network.model import SpanPP
from .convolution import (
    CHANNELS_AT_ONCE,
    TIMED_SIZE,
    TYPES,
    Convolution,
    Kind,
    Layer,
    fastest_shape,
    packed,
    shape_times,
)
from .fallback import log_fallback
from .prepared_weights import PreparedRunner, convolution_time, fastest_width

CAPABILITY = (8, 0)
"""The oldest CUDA compute capability that the kernel is for."""

TRIED_ON = ((9, 0),)
"""
The CUDA compute capabilities on which "auto" takes it, if it measures faster there. An
earlier kernel has run on them. An error in a kernel can end the whole program.
"""

MOST_CHANNELS = 48
"""What leaves room in the shared memory of every such GPU."""


class _Ends(NamedTuple):
    """The first layer, and the last ones as `LastLayers` has them."""

    first: Layer
    image: Layer
    last_block: Layer
    first_block: Layer
    last_activation: Layer


class CupyRunner(PreparedRunner):
    """A network whose layers are run by `Convolution`, up to the upsampler.

    In bfloat16 the blocks alone are. Its first and last layers are in float32: PyTorch's
    convolutions, and Triton's kernels between them where Triton is installed.

    Args:
        network: In float16 or bfloat16, on a CUDA device; a copy of its weights is kept.

    Raises:
        Exception: CuPy is not installed, cannot compile for this GPU, or the kernel
            computes something else than PyTorch on a small image.
    """

    def __init__(self, network: SpanPP) -> None:
        device, channels = network.conv_cat.weight.device, network.hyper.channels
        reason = _reason_against(channels, network.dtype, device)
        if reason is not None:
            raise ValueError(reason)
        super().__init__(network)
        shape = fastest_shape(channels, network.dtype, device)
        inputs = network.hyper.in_channels
        self._image_channels = inputs + -inputs % CHANNELS_AT_ONCE

        self._convolutions: list[Convolution] = []

        def convolution(inputs: int, side: int) -> Convolution:
            made = Convolution(Kind(inputs, channels, side), network.dtype, shape)
            self._convolutions.append(made)
            return made

        def layer(of: Convolution, weight: Tensor, bias: Tensor | None = None) -> Layer:
            bias = torch.zeros(channels, device=device) if bias is None else bias
            return Layer(of, packed(weight), bias.float())

        with torch.cuda.device(device):
            body = convolution(channels, 3)
            self._layers = [
                [layer(body, *each) for each in block] for block in self._blocks
            ]
            self._ends: _Ends | None = None
            if end_dtype(network.dtype) == network.dtype:
                image, pixels = (
                    convolution(self._image_channels, 3),
                    convolution(channels, 1),
                )
                last_block, first_block, last_activation = self._of_maps
                self._ends = _Ends(
                    first=layer(image, *self._first),
                    image=layer(image, self._of_image, self._bias),
                    last_block=layer(body, last_block),
                    first_block=layer(pixels, first_block),
                    last_activation=layer(pixels, last_activation),
                )
        if self._ends is None:
            with suppress(ImportError):  # Triton is for Linux
                from . import triton_kernels  # noqa: PLC0415 - needs an optional package

                self._pointwise = triton_kernels
        self._check(network)

    @staticmethod
    @override
    def map_channels(channels: int, dtype: torch.dtype, device: torch.device) -> int:
        """As `Runner.map_channels`: its own kernel needs no padding."""
        return channels

    @override
    def _check(self, network: SpanPP) -> None:
        """As `PreparedRunner._check`, and once more by one program per convolution.

        Of so small an image a program makes one tile; of a large one it makes many.
        """
        super()._check(network)
        most = [each.most_programs for each in self._convolutions]
        for each in self._convolutions:
            each.most_programs = 1
        super()._check(network)
        for each, programs in zip(self._convolutions, most):
            each.most_programs = programs

    @override
    def _block(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        c1, c2, c3 = self._layers[index]
        x = x.contiguous(memory_format=torch.channels_last)
        o1 = c1(x, "silu")
        return c3(c2(o1, "silu"), "gate", x), o1

    @override
    def _image(self, x: Tensor) -> Tensor:
        if self._ends is None:
            return super()._image(x)
        n, channels, height, width = x.shape
        wider = x.new_zeros((n, height, width, self._image_channels), dtype=self._dtype)
        wider[..., :channels] = x.movedim(1, -1)
        return wider.movedim(-1, 1)

    @override
    def _first_map(self, x: Tensor) -> Tensor:
        if self._ends is None:
            return super()._first_map(x)
        return self._ends.first(x, "nothing")

    @override
    def _joined(self, x: Tensor, maps: list[Tensor]) -> Tensor:
        if self._ends is None:
            return super()._joined(x, maps)
        y = self._ends.image(x, "nothing")
        y = self._ends.last_block(maps.pop(), "add", y)
        y = self._ends.first_block(maps.pop(), "add", y)
        return self._ends.last_activation(maps.pop(), "add", y)


def is_fastest(channels: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether this backend is installed, and the fastest for such a network on a device."""
    if (
        find_spec("cupy") is None
        or _reason_against(channels, dtype, device) is not None
    ):
        return False
    if torch.cuda.get_device_capability(device) not in TRIED_ON:
        return False
    return _measures_faster(channels, dtype, device)


@functools.cache
def _measures_faster(channels: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether its convolution, with what follows, takes less time than PyTorch's without."""
    try:
        ours = min(shape_times(channels, dtype, device).values())
        width = fastest_width(channels, dtype, device)
        pytorch = convolution_time(
            width, dtype, device, math.isqrt(math.prod(TIMED_SIZE))
        )
    except Exception as error:  # CuPy may raise anything
        log_fallback("cupy", error)
        return False
    return ours < pytorch


def _reason_against(
    channels: int, dtype: torch.dtype, device: torch.device
) -> str | None:
    """Says why the kernel is not for such a network on a device; None if it is."""
    if device.type != "cuda" or torch.version.hip is not None:
        return f"here it is for CUDA devices, not {device}"
    if torch.cuda.get_device_capability(device) < CAPABILITY:
        return "it is for GPUs of compute capability 8.0 and later"
    if dtype not in TYPES or channels % CHANNELS_AT_ONCE or channels > MOST_CHANNELS:
        return f"it runs 16, 32 or {MOST_CHANNELS} channels in float16 or bfloat16"
    return None
