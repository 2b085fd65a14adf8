"""Which dtype a device is fastest in without a visible difference, and exact float32."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from ..descriptor import SpanPPDescriptor

_TURING_TENSOR_CORES = {"RTX", "T4", "T4G", "T10", "TITAN"}
"""
Words in the names of the Turing GPUs (compute capability 7.5) that have tensor cores;
float16 is slow on the others, or gives NaN (GTX 16).
"""


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Returns the dtype to run the network in on a device.

    float16 on CUDA GPUs with tensor cores, bfloat16 on CPUs with instructions
    for it (AVX512-BF16, AMX), float32 everywhere else. On photos the result is within
    1/255 of that of float32, in bfloat16 but for one value in two thousand.
    """
    if device.type == "cuda" and _is_half_fast(device):
        return torch.float16
    if device.type == "cpu" and _is_bfloat16_fast():
        return torch.bfloat16
    return torch.float32


def fitting_dtype(model: SpanPPDescriptor, dtype: torch.dtype) -> torch.dtype:
    """Returns a dtype that nobody asked for, or float32 where a model does not fit it.

    Then one line in the log says why.
    """
    if dtype == torch.float16 and (reason := model.checkpoint.why_not_float16):
        _log_once(reason)
        return torch.float32
    return dtype


@functools.cache
def _log_once(reason: str) -> None:
    logging.getLogger("spanpp").warning("running in float32: %s", reason)


def _is_half_fast(device: torch.device) -> bool:
    capability = torch.cuda.get_device_capability(device)
    if capability < (7, 5):
        return capability >= (7, 0)  # Volta: all have tensor cores
    words = torch.cuda.get_device_name(device).replace("-", " ").upper().split()
    return capability > (7, 5) or not _TURING_TENSOR_CORES.isdisjoint(words)


def _is_bfloat16_fast() -> bool:
    """False where PyTorch is too old to say: it emulates bfloat16, at a high cost."""
    ask: Callable[[], Mapping[str, object]] | None
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is not None:
        found = ask()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    older = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # 2.4 to 2.9
    return any(getattr(torch.cpu, name, bool)() for name in older)


class _TF32:
    """The switch for TF32 in convolutions, which belongs to the whole process.

    The first to switch it off keeps what it was; the last one restores that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: Callable[[], None] | None = None

    def switch_off(self) -> None:
        """Has convolutions compute in float32 until `restore` is called as often."""
        with self._lock:
            if self._users == 0:
                self._before = _without_tf32()
            self._users += 1

    def restore(self) -> None:
        """Ends one call of `switch_off`."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._before is not None:
                self._before()


_tf32 = _TF32()


@contextmanager
def exact_float32(device: torch.device) -> Generator[None, None, None]:
    """Has convolutions of float32 maps compute in float32 on CUDA, within the block.

    By default PyTorch lets cuDNN round their inputs to the 10 bits of TF32 on Ampere GPUs
    and later: float32 would be as coarse as float16.
    """
    if device.type != "cuda":
        yield
        return
    _tf32.switch_off()
    try:
        yield
    finally:
        _tf32.restore()


def _without_tf32() -> Callable[[], None]:
    """Switches TF32 off for convolutions; returns what puts it back as it was."""
    cudnn: Any = torch.backends.cudnn
    switch, name, off = cudnn, "allow_tf32", False
    try:
        before = cudnn.allow_tf32
    except RuntimeError:  # a host has used the newer switch, and the older one refuses
        switch, name, off = cudnn.conv, "fp32_precision", "ieee"
        before = cudnn.conv.fp32_precision
    setattr(switch, name, off)
    return lambda: setattr(switch, name, before)
