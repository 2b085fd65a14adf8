"""The network on CUDA with a convolution of its own, compiled by CuPy.

cuDNN has no good kernel for 48 channels of float16 on some GPUs. `convolution.cu` is one
for them, with all that is done to its result. It needs no Triton, which is for Linux.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from ..network.model import SpanPP
from ..optional import require
from .prepared import PreparedRunner

SOURCE = Path(__file__).with_name("convolution.cu")

COLUMNS = 16
"""Pixels of a row that a group of warps makes at once."""


class Shape(NamedTuple):
    """How the kernel divides its work; `convolution.cu` says what it means."""

    rows: int
    warps: int
    groups: int
    stages: int
    programs: int


SHAPES = (Shape(16, 4, 1, 1, 3), Shape(12, 4, 3, 2, 1), Shape(12, 4, 2, 1, 1))
"""
Of these the fastest runs. The second is for the 227 KB of shared memory of an H100; the
others fit into the 99 KB of every GPU that the kernel is for.
"""

RESERVED = 1024
"""Bytes of shared memory that the driver takes for each program."""

TIMED_SIZE = (1080, 1920)
"""Height and width of the map that the shapes are timed on."""

CAPABILITY = (8, 0)
"""The oldest CUDA compute capability that the kernel is for."""

FASTEST_ON = ((9, 0),)
"""The CUDA compute capabilities on which it was measured, and was the fastest backend."""

MOST_CHANNELS = 48
"""What leaves room in the shared memory of every such GPU."""

TYPES = {torch.float16: (), torch.bfloat16: ("-DBFLOAT16",)}
"""The options that the kernel is compiled with, for the dtypes of its maps."""

Then = Literal["nothing", "silu", "add", "gate"]
"""
What is done to a value ``o`` of the convolution, where ``s`` is that of another map:
nothing, ``silu(o)``, ``o + s`` or ``(o + s) * (sigmoid(o) - 1/2)``.
"""

THENS: tuple[Then, ...] = ("nothing", "silu", "add", "gate")
"""In the order of the kernel."""


class Convolution:
    """A 3x3 convolution of C channels to C with zeros around, and what follows it.

    It is for the current CUDA device.

    Args:
        channels: C, a multiple of 16.
        dtype: A key of `TYPES`.
        shape: How the work is divided. It changes no result.

    Raises:
        Exception: CuPy is not installed, or cannot compile here.
    """

    def __init__(self, channels: int, dtype: torch.dtype, shape: Shape) -> None:
        self._cupy: Any = require("The backend cupy", "cupy", "cupy")
        sizes = {"INPUTS": channels, "OUTPUTS": channels, "SIDE": 3}
        sizes |= {name.upper(): value for name, value in shape._asdict().items()}
        options = ("-std=c++17", *(f"-D{k}={v}" for k, v in sizes.items()))
        code = SOURCE.read_text("utf-8")
        self._kernel = self._cupy.RawKernel(code, "convolution", options + TYPES[dtype])
        self._shape = shape
        self._shared = shared_bytes(channels, shape)
        self._kernel.max_dynamic_shared_size_bytes = self._shared
        gpu = self._cupy.cuda.Device().attributes
        at_once = gpu["MaxSharedMemoryPerMultiprocessor"] // (self._shared + RESERVED)
        self._most = min(shape.programs, at_once) * gpu["MultiProcessorCount"]

    def __call__(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        then: Then,
        skip: Tensor | None = None,
    ) -> Tensor:
        """Convolves a map.

        Args:
            x: (N, C, H, W), channels-last.
            weight: As `packed` returns it.
            bias: (C,) in float32.
            then: What is done to the result.
            skip: The other map, of the shape and layout of ``x``.

        Returns:
            The result, of the shape and layout of ``x``.
        """
        n, _, height, width = x.shape
        out = torch.empty_like(x)
        shape = self._shape
        down, across = -(-height // shape.rows), -(-width // COLUMNS)
        tiles = n * down * across
        with torch.cuda.device_of(x):
            stream = torch.cuda.current_stream(x.device).cuda_stream
            pointers = (x, weight, bias, skip, out)
            sizes = (THENS.index(then), height, width, down, across, tiles)
            with self._cupy.cuda.ExternalStream(stream):
                self._kernel(
                    (min(tiles, self._most),),
                    (32 * shape.warps * shape.groups,),
                    (
                        *(0 if each is None else each.data_ptr() for each in pointers),
                        *map(np.int32, sizes),
                    ),
                    shared_mem=self._shared,
                )
        return out


def packed(weight: Tensor) -> Tensor:
    """Returns a weight (C, C, 3, 3) as the kernel reads it.

    (9, C / 8, C, 8): tap, input channels, output channel, input channels. The output
    channels are in the order in which a thread of the kernel has whole units of them.
    """
    channels = len(weight)
    numbers = torch.arange(channels, device=weight.device)
    order = [
        numbers[first : first + 32].view(4, -1, 2).transpose(0, 1).flatten()
        for first in range(0, channels, 32)
    ]
    by_tap = weight[torch.cat(order)].permute(2, 3, 1, 0)
    by_unit = by_tap.reshape(9, channels // 8, 8, channels)
    return by_unit.transpose(2, 3).contiguous()


def shared_bytes(channels: int, shape: Shape) -> int:
    """Returns the shared memory of a program: all weights, and maps of its groups."""
    units, pixels = channels // 8, (shape.rows + 2) * (COLUMNS + 2)
    plane = pixels + 1 - pixels % 2
    return 16 * units * (9 * channels + shape.groups * shape.stages * plane)


def fastest_shape(channels: int, dtype: torch.dtype, device: torch.device) -> Shape:
    """Returns the shape in which the kernel is fastest on a CUDA GPU.

    They are timed once, or as soon as there is memory for it: until then it is the first.
    """
    try:
        times = shape_times(channels, dtype, device)
    except torch.cuda.OutOfMemoryError:
        return SHAPES[0]
    return min(times, key=lambda shape: times[shape])


@functools.cache
def shape_times(
    channels: int, dtype: torch.dtype, device: torch.device
) -> dict[Shape, float]:
    """Returns the milliseconds that a convolution takes in each shape that fits a GPU."""
    cupy: Any = require("The backend cupy", "cupy", "cupy")
    generator = torch.Generator(device).manual_seed(
        0
    )  # that of the host stays as it is
    x, weight = (
        torch.rand(shape, generator=generator, device=device, dtype=dtype)
        for shape in ((1, *TIMED_SIZE, channels), (9, channels // 8, channels, 8))
    )
    x, bias = x.movedim(-1, 1), torch.zeros(channels, device=device)
    taken: dict[Shape, list[float]] = {}
    with torch.no_grad(), torch.cuda.device(device):
        most = cupy.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"]
        fitting = [each for each in SHAPES if shared_bytes(channels, each) <= most]
        runs = {shape: Convolution(channels, dtype, shape) for shape in fitting}
        for _ in range(6):
            for shape, run in runs.items():
                began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                began.record()
                run(x, weight, bias, "silu")
                ended.record()
                ended.synchronize()
                taken.setdefault(shape, []).append(began.elapsed_time(ended))
    return {shape: min(each) for shape, each in taken.items()}


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
        shape = fastest_shape(channels, network.dtype, device)
        with torch.cuda.device(device):
            self._convolution = Convolution(channels, network.dtype, shape)
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
        convolved = self._convolution
        x = x.contiguous(memory_format=torch.channels_last)
        o1 = convolved(x, *c1, "silu")
        return convolved(convolved(o1, *c2, "silu"), *c3, "gate", x), o1


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
