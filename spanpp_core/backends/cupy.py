"""The network on CUDA with a convolution of its own, compiled by CuPy.

cuDNN has no good kernel for 48 channels of float16 on some GPUs. `convolution.cu` is one
for them, with all that is done to its result. It needs no Triton, which is for Linux.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from ..network.model import SpanPP
from ..optional import require
from .prepared import PreparedRunner

SOURCE = Path(__file__).with_name("convolution.cu")

ROWS, COLUMNS = 16, 16
"""Pixels that a program makes at once."""

WARPS = 4
PROGRAMS = 3
"""Programs that run on a multiprocessor at the same time."""

CAPABILITY = (8, 0)
"""The oldest CUDA compute capability that the kernel is for."""

FASTEST_ON = ((9, 0),)
"""The CUDA compute capabilities on which it was measured, and was the fastest backend."""

MOST_CHANNELS = 48
"""What leaves room in the shared memory of every such GPU."""

TYPES = {torch.float16: (), torch.bfloat16: ("-DBFLOAT16",)}
"""The options that the kernel is compiled with, for the dtypes of its maps."""


class Convolution:
    """A 3x3 convolution of C channels to C with zeros around, and what follows it.

    Args:
        channels: C, a multiple of 16.
        dtype: A key of `TYPES`.

    Raises:
        Exception: CuPy is not installed, or cannot compile here.
    """

    def __init__(self, channels: int, dtype: torch.dtype) -> None:
        self._cupy: Any = require("The backend cupy", "cupy", "cupy")
        sizes = {"CHANNELS": channels, "ROWS": ROWS, "WARPS": WARPS}
        sizes["PROGRAMS"] = PROGRAMS
        options = ("-std=c++17", *(f"-D{k}={v}" for k, v in sizes.items()))
        code = SOURCE.read_text("utf-8")
        self._kernel = self._cupy.RawKernel(code, "convolution", options + TYPES[dtype])
        self._shared = shared_bytes(channels)
        self._kernel.max_dynamic_shared_size_bytes = self._shared

    def __call__(
        self, x: Tensor, weight: Tensor, bias: Tensor, skip: Tensor | None = None
    ) -> Tensor:
        """Convolves a map and activates the result.

        Args:
            x: (N, C, H, W), channels-last.
            weight: As `packed` returns it.
            bias: (C,) in float32.
            skip: Of the shape and layout of ``x``.

        Returns:
            ``silu(o)`` for the convolution ``o``; with ``skip``,
            ``(o + skip) * (sigmoid(o) - 1/2)``.
        """
        n, _, height, width = x.shape
        out = torch.empty_like(x)
        down, across = -(-height // ROWS), -(-width // COLUMNS)
        tiles = n * down * across
        with torch.cuda.device_of(x):
            programs = min(tiles, PROGRAMS * _multiprocessors(x.device))
            stream = torch.cuda.current_stream(x.device).cuda_stream
            pointers = (x, weight, bias, skip, out)
            sizes = (height, width, down, across, tiles)
            with self._cupy.cuda.ExternalStream(stream):
                self._kernel(
                    (programs,),
                    (32 * WARPS,),
                    (
                        *(0 if each is None else each.data_ptr() for each in pointers),
                        *map(np.int32, sizes),
                    ),
                    shared_mem=self._shared,
                )
        return out


def packed(weight: Tensor) -> Tensor:
    """Returns a weight (C, C, 3, 3) as the kernel reads it.

    (9, C / 8, C, 8): tap, input channels, output channel, input channels.
    """
    channels = len(weight)
    by_tap = weight.permute(2, 3, 1, 0).reshape(9, channels // 8, 8, channels)
    return by_tap.transpose(2, 3).contiguous()


def shared_bytes(channels: int) -> int:
    """Returns the shared memory of a program: all weights, and a map or its result."""
    units, pixels = channels // 8, (ROWS + 2) * (COLUMNS + 2)
    plane = pixels + 1 - pixels % 2
    return 16 * (
        9 * units * channels + max(units * plane, ROWS * COLUMNS * (units + 1))
    )


class CupyRunner(PreparedRunner):
    """A network whose blocks run by `Convolution`, and Triton between where it is.

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
        try:
            from . import triton_kernels  # noqa: PLC0415 - needs an optional package
        except ImportError:  # Triton is for Linux
            pass
        else:
            self._pointwise = triton_kernels
        with torch.cuda.device(device):
            self._convolution = Convolution(channels, network.dtype)
        self._packed = [
            [(packed(conv.weight), conv.bias.float()) for conv in block]
            for block in self._blocks
        ]
        self._check(network)

    @staticmethod
    @override
    def map_channels(channels: int, dtype: torch.dtype, device: torch.device) -> int:
        """As `Runner.map_channels`: its own kernel needs no padding."""
        return channels

    @override
    def _block(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        c1, c2, c3 = self._packed[index]
        convolved: Callable[..., Tensor] = self._convolution
        x = x.contiguous(memory_format=torch.channels_last)
        o1 = convolved(x, *c1)
        return convolved(convolved(o1, *c2), *c3, x), o1


def is_fastest(channels: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether this backend is installed, and the fastest for such a network on a device."""
    if (
        find_spec("cupy") is None
        or _reason_against(channels, dtype, device) is not None
    ):
        return False
    return torch.cuda.get_device_capability(device) in FASTEST_ON


def _reason_against(
    channels: int, dtype: torch.dtype, device: torch.device
) -> str | None:
    """Says why the kernel is not for such a network on a device; None if it is."""
    if device.type != "cuda" or torch.version.hip is not None:
        return f"here it is for CUDA devices, not {device}"
    if torch.cuda.get_device_capability(device) < CAPABILITY:
        return "it is for GPUs of compute capability 8.0 and later"
    if dtype not in TYPES or channels % 16 or channels > MOST_CHANNELS:
        return f"it runs 16, 32 or {MOST_CHANNELS} channels in float16 or bfloat16"
    return None


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    return cast("Any", torch.cuda.get_device_properties)(device).multi_processor_count
