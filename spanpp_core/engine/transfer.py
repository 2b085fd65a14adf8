"""Copies between main memory and a CUDA device that the processor does not wait for.

They go through pinned memory, on a stream of their own. Whatever needs no processor is left
to the GPU: the order of the axes changes there, and only the narrower dtype is copied.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CopyStreams:
    """The streams that one device copies on."""

    into: torch.cuda.Stream
    out: torch.cuda.Stream


@functools.cache
def copy_streams(device: torch.device) -> CopyStreams | None:
    """Returns the streams of a CUDA device, and None for any other.

    There is one pair per device: PyTorch keeps freed memory per stream, and each new
    stream would leave some that no other can use.
    """
    if device.type != "cuda":
        return None
    return CopyStreams(torch.cuda.Stream(device), torch.cuda.Stream(device))


@contextmanager
def on_stream(stream: torch.cuda.Stream | None) -> Generator[None]:
    """Has this thread queue its GPU work in a stream within the block; None: as it does."""
    with nullcontext() if stream is None else torch.cuda.stream(stream):
        yield


@dataclass(frozen=True)
class Handover:
    """A tensor that one thread made, for another thread that uses another stream."""

    tensor: Tensor
    made: torch.cuda.Event | None
    """When it is there; None where there are no streams."""

    @classmethod
    def of(cls, tensor: Tensor) -> Handover:
        """Hands over what the current stream of this thread makes."""
        if not tensor.is_cuda:
            return cls(tensor, None)
        made = torch.cuda.Event()
        made.record(torch.cuda.current_stream(tensor.device))
        return cls(tensor, made)

    def received(self) -> Tensor:
        """Returns the tensor; the current stream of this thread waits for it."""
        if self.made is not None:
            stream = torch.cuda.current_stream(self.tensor.device)
            stream.wait_event(self.made)
            self.tensor.record_stream(stream)
        return self.tensor


def narrower(a: torch.dtype, b: torch.dtype) -> torch.dtype:
    """Returns the dtype of fewer bytes, ``a`` if they are equal."""
    return b if b.itemsize < a.itemsize else a


def memory_order(x: Tensor) -> list[int]:
    """Returns the axes as they lie in memory, outermost first.

    Example:
        >>> memory_order(torch.empty(4, 5, 3).permute(2, 0, 1))
        [1, 2, 0]
    """
    # an axis that was expanded lies nowhere; outermost it disturbs no other
    return sorted(range(x.ndim), key=lambda axis: -(x.stride(axis) or math.inf))


def moved_in(
    tiles: Sequence[Tensor],
    dtype: torch.dtype,
    device: torch.device,
    stream: torch.cuda.Stream,
) -> Tensor:
    """Returns a batch on the device; only the current stream waits for it.

    Args:
        tiles: (C, H, W) each, of equal shapes and strides, in main memory.
        dtype: What the network casts them to; it is cast to before if it is narrower.
        device: A CUDA device.
        stream: What to copy on.

    Returns:
        (N, C, H, W), its axes in memory as those of ``tiles``.
    """
    order = memory_order(tiles[0])
    shape = [tiles[0].shape[axis] for axis in order]
    staged = _pinned([len(tiles), *shape], narrower(tiles[0].dtype, dtype))
    for place, tile in zip(staged, tiles):
        place.copy_(tile.permute(order))
    computing = torch.cuda.current_stream(device)
    with torch.cuda.stream(stream):
        x = staged.to(device, non_blocking=True)
    computing.wait_stream(stream)
    x.record_stream(computing)
    return x.permute(0, *(1 + order.index(axis) for axis in range(len(order))))


def moved_out(
    pixels: Tensor,
    places: Sequence[Tensor],
    device: torch.device,
    stream: torch.cuda.Stream,
) -> Callable[[], None]:
    """Begins to copy images to main memory and returns what ends it.

    Args:
        pixels: (N, C, H, W) on the device; not to be changed any more.
        places: N places, (C, H, W) each of any strides. Dense pinned memory is written to
            directly, anything else when the copy is ended.
        device: A CUDA device.
        stream: What to copy on.
    """
    stream.wait_stream(torch.cuda.current_stream(device))
    staged: list[tuple[Tensor, Tensor]] = []
    with torch.cuda.stream(stream):
        for target, image in zip(places, pixels):
            order = memory_order(target)
            place = target.permute(order)
            if place.is_contiguous() and place.is_pinned():
                ready = _dense(image.permute(order), place.dtype)
                place.copy_(ready, non_blocking=True)
            else:
                dtype = narrower(place.dtype, image.dtype)
                ready = _dense(image.permute(order), dtype)
                buffer = _pinned(ready.shape, dtype)
                staged.append((place, buffer.copy_(ready, non_blocking=True)))
        done = stream.record_event()
    pixels.record_stream(stream)

    def end() -> None:
        done.synchronize()
        for place, buffer in staged:
            place.copy_(buffer)

    return end


def begin_read(x: Tensor) -> Callable[[], Tensor]:
    """Begins to copy a small tensor from a CUDA device; returns what ends it: the copy.

    That waits for what makes the tensor, and for nothing that is launched later.
    """
    place = _pinned(x.shape, x.dtype).copy_(x, non_blocking=True)
    done = torch.cuda.current_stream(x.device).record_event()

    def end() -> Tensor:
        done.synchronize()
        return place

    return end


def copy_to(place: Tensor, pixels: Tensor) -> None:
    """Copies an image (C, H, W) to a place of any strides, on any device, and waits.

    From a GPU to main memory axes and dtype become those of the place before, on the GPU.
    """
    if pixels.device.type != "cpu" and place.device.type == "cpu":
        order = memory_order(place)
        place = place.permute(order)
        # float32 at most, if the pixels are no wider: not every GPU has float64
        dtype = narrower(place.dtype, torch.promote_types(pixels.dtype, torch.float32))
        pixels = _dense(pixels.permute(order), dtype)
    place.copy_(pixels)


def _dense(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns a tensor in a dtype, its axes as they are: one copy, if any."""
    return x.to(dtype, memory_format=torch.contiguous_format).contiguous()


def _pinned(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(tuple(shape), dtype=dtype, device="cpu", pin_memory=True)
