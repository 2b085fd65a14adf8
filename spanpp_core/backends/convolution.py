"""A convolution for CUDA GPUs, compiled by CuPy: what `convolution.cu` is called with."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..optional import require

SOURCE = Path(__file__).with_name("convolution.cu")

COLUMNS = 16
"""Width in pixels of a tile, which a group of warps makes at once."""

CHANNELS_AT_ONCE = 16
"""Input channels that one `mma` instruction of the kernel sums over."""


class Shape(NamedTuple):
    """How the kernel divides its work; `convolution.cu` says what it means."""

    rows: int
    warps: int
    groups: int
    stages: int
    programs: int


SHAPES = (
    Shape(16, 4, 1, 1, 3),
    Shape(12, 4, 3, 2, 1),
    Shape(16, 4, 1, 2, 2),
    Shape(12, 4, 2, 1, 1),
)
"""
Those of `Kind.timed_shapes` are timed, and the fastest one runs. The first and the last fit
into the 99 KiB that every such GPU has.
"""

MOST_TIMED = 3
"""Each takes half a second to compile, the first time on a machine."""

RESERVED = 1024
"""Bytes of shared memory that CUDA keeps for itself, per program."""

TIMED_SIZE = (1080, 1920)
"""Height and width of the map that the shapes are timed on."""

TYPES = {torch.float16: (), torch.bfloat16: ("-DBFLOAT16",)}
"""The compiler's options for each dtype of the maps."""

Then = Literal["nothing", "silu", "add", "gate"]
"""
What is done to a value ``o`` of the convolution, where ``s`` is that of another map:
nothing, ``silu(o)``, ``o + s`` or ``(o + s) * (sigmoid(o) - 1/2)``.
"""

THENS: tuple[Then, ...] = ("nothing", "silu", "add", "gate")
"""In the order of the kernel."""


class Kind(NamedTuple):
    """Which convolution a kernel is compiled for; channels are multiples of 16."""

    inputs: int
    outputs: int
    side: int
    """3 for a 3x3 convolution with zeros around, 1 for a 1x1 convolution."""

    def shared_bytes(self, shape: Shape) -> int:
        """Returns the shared memory of a program: all weights, and maps of its groups."""
        units, more = self.inputs // 8, self.side - 1
        pixels = (shape.rows + more) * (COLUMNS + more)
        plane = pixels + 1 - pixels % 2
        weights = self.side**2 * units * self.outputs
        return 16 * (weights + shape.groups * shape.stages * units * plane)

    def timed_shapes(self, block: int) -> list[Shape]:
        """Returns the first `MOST_TIMED` shapes that fit into a GPU's shared memory.

        Args:
            block: Bytes of shared memory that one program may have there.
        """
        return [s for s in SHAPES if self.shared_bytes(s) <= block][:MOST_TIMED]

    def on_gpu(self, shape: Shape, multiprocessor: int) -> Shape:
        """Returns a shape with no more programs per multiprocessor than a GPU has room for.

        The compiler divides the registers among them: for programs that never come it
        would spill some.

        Args:
            shape: One that fits.
            multiprocessor: Bytes of shared memory of a multiprocessor.
        """
        fit = multiprocessor // (self.shared_bytes(shape) + RESERVED)
        return shape._replace(programs=min(shape.programs, fit))

    def options(self, dtype: torch.dtype, shape: Shape) -> tuple[str, ...]:
        """Returns the compiler's options for `SOURCE`, except that for the GPU."""
        sizes = self._asdict() | shape._asdict()
        defined = (f"-D{name.upper()}={value}" for name, value in sizes.items())
        return ("-std=c++17", *defined, *TYPES[dtype])


class Convolution:
    """A convolution of maps, and what follows it, on the current CUDA device.

    Args:
        kind: What it convolves.
        dtype: A key of `TYPES`.
        shape: How the work is divided. It changes no result.

    Raises:
        Exception: CuPy is not installed, or cannot compile here.
    """

    def __init__(self, kind: Kind, dtype: torch.dtype, shape: Shape) -> None:
        self._cupy: Any = require("The backend cupy", "cupy", "cupy")
        gpu = self._cupy.cuda.Device().attributes
        shape = kind.on_gpu(shape, gpu["MaxSharedMemoryPerMultiprocessor"])
        self._kernel = self._cupy.RawKernel(
            SOURCE.read_text("utf-8"), "convolution", kind.options(dtype, shape)
        )
        self._kind, self._shape = kind, shape
        self._shared = kind.shared_bytes(shape)
        self._kernel.max_dynamic_shared_size_bytes = self._shared
        self.most_programs = shape.programs * gpu["MultiProcessorCount"]
        """How many are launched at most: all run at once, and each makes tile after tile."""

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
            x: (N, inputs, H, W), channels-last.
            weight: As `packed` returns it.
            bias: (outputs,) in float32.
            then: What is done to the result.
            skip: The other map where that needs one, as what is returned.

        Returns:
            (N, outputs, H, W), channels-last.
        """
        n, _, height, width = x.shape
        shape = self._shape
        out = x.new_empty((n, height, width, self._kind.outputs)).movedim(-1, 1)
        down, across = -(-height // shape.rows), -(-width // COLUMNS)
        tiles = n * down * across
        with torch.cuda.device_of(x):
            stream = torch.cuda.current_stream(x.device).cuda_stream
            pointers = (x, weight, bias, skip, out)
            sizes = (THENS.index(then), height, width, down, across, tiles)
            with on_stream(self._cupy, stream):
                self._kernel(
                    (min(tiles, self.most_programs),),
                    (32 * shape.warps * shape.groups,),
                    (
                        *(0 if each is None else each.data_ptr() for each in pointers),
                        *map(np.int32, sizes),
                    ),
                    shared_mem=self._shared,
                )
        return out


class _Stream(NamedTuple):
    """A CUDA stream, by the protocol that libraries hand streams to each other with."""

    address: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.address  # 0 is the version of the protocol


def on_stream(cupy: Any, address: int) -> AbstractContextManager[object]:
    """Has CuPy launch kernels in a CUDA stream of PyTorch within a block."""
    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_Stream(address))
    return cupy.cuda.ExternalStream(address)  # deprecated from CuPy 14 on


class Layer(NamedTuple):
    """A convolution with its weights."""

    convolution: Convolution
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor, then: Then, skip: Tensor | None = None) -> Tensor:
        """Computes `Convolution.__call__`."""
        return self.convolution(x, self.weight, self.bias, then, skip)


def packed(weight: Tensor) -> Tensor:
    """Returns a weight (O, I, k, k) as the kernel reads it.

    (k * k, I / 8, O, 8): tap, input channels, output channel, input channels; I is made a
    multiple of 16 by zeros. The output channels are in the order in which a thread of the
    kernel has whole units of them.
    """
    outputs, inputs, side, _ = weight.shape
    numbers = torch.arange(outputs, device=weight.device)
    order = [
        numbers[first : first + 32].view(4, -1, 2).transpose(0, 1).flatten()
        for first in range(0, outputs, 32)
    ]
    wider = F.pad(weight, (0, 0, 0, 0, 0, -inputs % CHANNELS_AT_ONCE))
    by_tap = wider[torch.cat(order)].permute(2, 3, 1, 0)
    by_unit = by_tap.reshape(side**2, -1, 8, outputs)
    return by_unit.transpose(2, 3).contiguous()


def fastest_shape(channels: int, dtype: torch.dtype, device: torch.device) -> Shape:
    """Returns the shape in which the kernel is fastest on a CUDA GPU.

    They are timed once, or as soon as there is memory for it: until then it is the first.

    Raises:
        RuntimeError: Their results differ.
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
    """Returns the milliseconds that a convolution takes in each shape that fits a GPU.

    Each must make the same of a whole map each time, bit for bit: a missing barrier would
    be seen in this, and hardly on a small image.
    """
    cupy: Any = require("The backend cupy", "cupy", "cupy")
    # the random numbers of the host stay its own
    generator = torch.Generator(device).manual_seed(0)
    x, weight = (
        torch.rand(size, generator=generator, device=device, dtype=dtype)
        for size in ((1, *TIMED_SIZE, channels), (channels, channels, 3, 3))
    )
    layer = (packed(weight), torch.zeros(channels, dtype=torch.float32, device=device))
    kind = Kind(channels, channels, 3)
    taken: dict[Shape, list[float]] = {}
    with torch.no_grad(), torch.cuda.device(device):
        most = cupy.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"]
        runs = {
            shape: Convolution(kind, dtype, shape) for shape in kind.timed_shapes(most)
        }
        first: Tensor | None = None
        for _ in range(6):
            for shape, run in runs.items():
                began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                began.record()
                made = run(x.movedim(-1, 1), *layer, "silu")
                ended.record()
                ended.synchronize()
                taken.setdefault(shape, []).append(began.elapsed_time(ended))
                first = made if first is None else first
                if not torch.equal(made, first):
                    raise RuntimeError("its results depend on how the work is divided")
    return {shape: min(each) for shape, each in taken.items()}
