"""What is said when a backend cannot be used, and which errors are never its fault."""

from __future__ import annotations

import functools
import logging
import re

import torch

from ..errors import first_line

OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "bad_alloc",
    "alloc_failed",  # cuBLAS and cuDNN: CUBLAS_STATUS_ALLOC_FAILED
    "unable to find an engine",  # cuDNN, when no plan's workspace fits
    "valid cudnn algorithm",  # the same, in its older interface
    "out_of_device_memory",  # Level Zero, on Intel GPUs
    "out_of_host_memory",
    "error_out_of_resources",  # not CUDA's LAUNCH_OUT_OF_RESOURCES: too many registers
    "allocate memory block",  # older Intel GPUs, for blocks of more than 4 GB
    "enough gpu video memory",  # DirectML
    "invalid buffer size",  # Metal, for more than it gives to one tensor
    "could not create a primitive",  # oneDNN, in OpenVINO: also for want of memory
)
"""How devices and their libraries say that memory is full, in lower case."""

_FOLDERS = re.compile(r"(?<![\w:/\\])(?:[A-Za-z]:)?[\\/](?:[^\\/\s:]+[\\/])+")
"""The folders of a path: a compiler works in a new one each time."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a device's way of saying that its memory is full."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in message for words in OUT_OF_MEMORY
    )


def log_fallback(backend: str, error: Exception) -> str:
    """Logs in one line why a backend cannot be used, and returns the reason.

    The same reason is logged only once: hosts run a model many times.
    """
    reason = _FOLDERS.sub("", first_line(error))
    _log_once(backend, reason)
    return reason


@functools.cache
def _log_once(backend: str, reason: str) -> None:
    message = "backend %s cannot be used, running on PyTorch: %s"
    logging.getLogger("spanpp").warning(message, backend, reason)
