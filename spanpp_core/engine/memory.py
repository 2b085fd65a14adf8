"""How much memory a tile takes, and how much there is. In bytes."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from pathlib import Path

import torch

from ..network.hyperparameters import Hyperparameters
from ..network.model import end_dtype

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
"""The part of the free memory that a tile may take: others live on the machine too."""

CPU_TILE_PIXELS = 512**2
"""Tiles that are larger than this run no faster on a CPU, only later."""

CARD_TILE_PIXELS = 2048**2
"""Batches that are larger keep no card busier, and leave less to copy meanwhile."""

UNKNOWN_FREE = 2 * 2**30
"""Assumed where the system does not say."""


def working_bytes(
    hyper: Hyperparameters,
    scale: float,
    dtype: torch.dtype,
    pixels: int,
    *,
    pooled: bool = False,
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
        pooled: Whether the backend keeps all its memory while it works.
    """
    ends = end_dtype(dtype).itemsize
    body = BODY_TENSORS * hyper.channels * dtype.itemsize
    features, made = hyper.channels * ends, 3 * scale**2 * ends
    upsampler = features + 2 * made
    if pooled:
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
    return min(_free_system_memory(), _free_in_container())


def pixels_that_fit(
    hyper: Hyperparameters,
    scale: float,
    dtype: torch.dtype,
    device: torch.device,
    memory: int | None = None,
    *,
    pooled: bool = False,
) -> int:
    """Returns how many input pixels may be read at once on a device.

    In ``memory`` bytes, if given, but never in more than a share of what is free.
    """
    budget = SHARE_OF_FREE * free_memory(device)
    if memory is not None:
        budget = min(budget, memory)
    many = 2**32  # where the estimate grows in proportion
    fit = int(budget * many / working_bytes(hyper, scale, dtype, many, pooled=pooled))
    if working_bytes(hyper, scale, dtype, fit, pooled=pooled) > budget:  # in the heap
        fit = int(budget / working_bytes(hyper, scale, dtype, 1))
    return min(fit, CPU_TILE_PIXELS if device.type == "cpu" else CARD_TILE_PIXELS)


def _free_system_memory() -> int:
    if sys.platform == "win32":
        return _free_on_windows()
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return UNKNOWN_FREE


def _free_in_container() -> int:
    """What the control group leaves, on Linux; containers see the host's memory."""
    root = Path("/sys/fs/cgroup")
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
        return sys.maxsize if limit == "max" else max(0, int(limit) - used)
    except (OSError, ValueError):
        return sys.maxsize


def _free_on_windows() -> int:
    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            ("total", ctypes.c_ulonglong),
            ("available", ctypes.c_ulonglong),
            ("rest", ctypes.c_ulonglong * 5),
        )

    status = Status(length=ctypes.sizeof(Status))
    kernel32 = ctypes.WinDLL("kernel32")  # pyright: ignore
    done: int = kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # pyright: ignore
    return int(status.available) if done else UNKNOWN_FREE
