"""How much memory a tile takes, and how much there is. In bytes."""

from __future__ import annotations

import math
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import psutil
import torch

from ..network.end_layers import end_dtype
from ..network.hyperparameters import Hyperparameters

BODY_TENSORS = 5
"""
Feature maps in memory at the body's peak, within a block: what the first block and the
one before made, and three of its own.
"""

HEAP_BYTES = 32 * 2**20
"""
From this size the C library (glibc) asks the system for memory and gives it back at
once when it is freed. Anything smaller comes from a heap, where what is freed is a
little too small for the next aligned map, and lies in pieces after the first tile.
"""

HEAP_LOSS = 1.15
"""What a heap takes for what is asked of it, as measured."""

SHARE_OF_FREE = 0.5
"""The part of the free memory that a tile may take: other programs need some too."""

CPU_TILE_PIXELS = 512**2
"""Tiles that are larger than this run no faster on a CPU, only later."""

GPU_TILE_PIXELS = 2048**2
"""Larger batches keep no GPU busier, and leave less to copy meanwhile."""

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux says how much memory a container may use."""

_CONTROL_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""For both versions of control groups: the limit, what is used, and what of that is
copies of files, which go as soon as the memory is needed."""

RESULTS_ON_GPU = 2
"""Results in float32 on a GPU: of the batch at work, and of the one that is copied out."""


def working_bytes(
    hyper: Hyperparameters,
    scale: float,
    dtype: torch.dtype,
    pixels: int,
    *,
    channels: int | None = None,
    pooled: bool = False,
    on_gpu: bool = False,
) -> int:
    """Estimates the working memory of the network, beside its output, in bytes.

    The body's peak or the upsampler's (the features, the pixels before and after the
    shuffle, in the dtype of the last convolution), whichever is larger. From a heap the
    upsampler's maps are rarely made of what the body freed, see `HEAP_BYTES`.
    `benchmarks/memory.py` holds it against what is measured.

    Args:
        hyper: The network's.
        scale: What it is bound to.
        dtype: Of its body.
        pixels: The input pixels read at once.
        channels: Of the body's maps where a backend pads them; None: as the network has.
        pooled: Whether the backend keeps all its memory while it works.
        on_gpu: Whether it is a GPU's memory, which has no heap, but holds results until
            they are copied out.
    """
    ends = end_dtype(dtype).itemsize
    body = BODY_TENSORS * (channels or hyper.channels) * dtype.itemsize
    features, made = hyper.channels * ends, 3 * scale**2 * ends
    upsampler = features + 2 * made
    if on_gpu:
        each = max(body, upsampler) + RESULTS_ON_GPU * 3 * scale**2 * 4
    elif pooled:
        each = body + upsampler
    elif hyper.channels * dtype.itemsize * pixels < HEAP_BYTES:
        each = HEAP_LOSS * max(body + features + made, upsampler)
    else:
        each = max(body, upsampler)
    return math.ceil((2 * hyper.in_channels * ends + each) * pixels)


def free_memory(device: torch.device) -> int:
    """Returns the bytes that can be allocated on a device now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + held
    if device.type == "xpu":  # not every Intel GPU says what other programs take
        xpu = cast("Any", torch.xpu)
        counts = hasattr(xpu, "memory_allocated")  # since PyTorch 2.6
        taken = xpu.memory_allocated(device) if counts else 0
        return xpu.get_device_properties(device).total_memory - taken
    return min(psutil.virtual_memory().available, _free_in_container())


def empty_cache(device: torch.device) -> None:
    """Returns the memory that PyTorch keeps for later to a GPU, after it ran out."""
    empty = getattr(getattr(torch, device.type, None), "empty_cache", None)
    if empty is not None:
        empty()


def pixels_that_fit(
    hyper: Hyperparameters,
    scale: float,
    dtype: torch.dtype,
    device: torch.device,
    memory: int | None = None,
    *,
    channels: int | None = None,
    pooled: bool = False,
    free: int | None = None,
) -> int:
    """Returns how many input pixels may be read at once on a device.

    Args:
        hyper: The network's.
        scale: What it is bound to.
        dtype: Of its body.
        device: Where it runs.
        memory: The most bytes to take; never more than a share of what is free.
        channels: As for `working_bytes`.
        pooled: Likewise.
        free: The bytes that are free, if a host knows better than the device: it may
            count what it can evict.
    """
    budget = SHARE_OF_FREE * (free_memory(device) if free is None else free)
    if memory is not None:
        budget = min(budget, memory)
    on_gpu = device.type != "cpu"
    needed = partial(
        working_bytes,
        hyper,
        scale,
        dtype,
        channels=channels,
        pooled=pooled,
        on_gpu=on_gpu,
    )
    many = 2**32  # where the estimate grows in proportion
    fit = int(budget * many / needed(many))
    if needed(fit) > budget:  # in the heap
        fit = int(budget / needed(1))
    return min(fit, GPU_TILE_PIXELS if on_gpu else CPU_TILE_PIXELS)


def _free_in_container() -> int:
    """What the control group leaves, on Linux; containers see the host's memory."""
    for limit_file, used_file, details, name in _CONTROL_FILES:
        with suppress(OSError, ValueError):
            limit = (CONTROL_GROUP / limit_file).read_text().strip()
            used = int((CONTROL_GROUP / used_file).read_text())
            used -= _detail(CONTROL_GROUP / details, name)
            return sys.maxsize if limit == "max" else max(0, int(limit) - used)
    return sys.maxsize


def _detail(path: Path, name: str) -> int:
    """A number that a control group names in a file; 0 where it does not."""
    with suppress(OSError, ValueError):
        words = path.read_text().split()
        return int(words[words.index(name) + 1])
    return 0
