"""Keeping a dtype inside the autocast of a host or trainer."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast_enabled(device_type: str) -> bool:
    """Returns whether autocast is enabled now, or may be."""
    try:
        return torch.is_autocast_enabled(device_type)
    except TypeError:  # before PyTorch 2.4 it knows of CUDA only
        return device_type in ("cpu", "cuda", "xpu")
    except RuntimeError:  # such a device has no autocast
        return False


def autocast_disabled(device_type: str) -> AbstractContextManager[object]:
    """Returns a context in which autocast is disabled, where it is enabled now.

    Elsewhere it does nothing: not every device has autocast, and PyTorch before 2.5
    refuses even to disable it on Apple's MPS.
    """
    enabled = autocast_enabled(device_type)
    return torch.autocast(device_type, enabled=False) if enabled else nullcontext()
