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

BODY_TENSORS = 12
"""
Feature maps in memory at the body's peak, where the skip connections are concatenated:
the four parts and the concatenation make eight. The others are what libraries need and
what the C library's heap keeps of those freed before: measured are 9 where a map is
32 MiB or larger, 10 to 16 below.
"""

SHARE_OF_FREE = 0.5
"""The part of the free memory that a tile may take: others live on the machine too."""

CPU_TILE_PIXELS = 512**2
"""Tiles that are larger than this run no faster on a CPU, only later."""

UNKNOWN_FREE = 2 * 2**30
"""Assumed where the system does not say."""


def bytes_per_pixel(hyper: Hyperparameters, scale: float, dtype: torch.dtype) -> int:
    """Estimates the working memory of the network per input pixel read, in bytes.

    The larger of the body's peak and the upsampler's (the features and their padded
    copy, the pixels before and after the shuffle, all in the dtype of the last
    convolution), beside the input in two layouts.
    `benchmarks/memory.py` holds it against what is measured.
    """
    ends = end_dtype(dtype)
    body = BODY_TENSORS * hyper.channels * dtype.itemsize
    upsampler = (2 * hyper.channels + 2 * 3 * scale**2) * ends.itemsize
    inputs = 2 * hyper.in_channels * ends.itemsize
    return math.ceil(inputs + max(body, upsampler))


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
) -> int:
    """Returns how many input pixels may be read at once on a device.

    In ``memory`` bytes, if given, but never in more than a share of what is free.
    """
    budget = SHARE_OF_FREE * free_memory(device)
    if memory is not None:
        budget = min(budget, memory)
    fit = int(budget / bytes_per_pixel(hyper, scale, dtype))
    return min(fit, CPU_TILE_PIXELS) if device.type == "cpu" else fit


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
