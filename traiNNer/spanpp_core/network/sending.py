"""Small tables on their way from the CPU to a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_kept: dict[tuple[tuple[float, ...], torch.dtype, torch.device], Tensor] = {}


def kept(numbers: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns numbers as a tensor, which stays on a GPU for the next time."""
    key = (tuple(numbers), dtype, device)
    if key in _kept:
        return _kept[key]
    with torch.inference_mode(False):
        made = sent(torch.tensor(key[0], dtype=dtype, device="cpu"), device)
    if type(made) is Tensor and device.type != "cpu":  # not a tracer's
        _kept[key] = made
    return made


def sent(table: Tensor, device: torch.device) -> Tensor:
    """Copies a tensor in main memory to a device.

    From pinned memory, where it is CUDA: an ordinary copy first waits for everything
    that the GPU still computes.
    """
    if device.type == "cuda" and torch.cuda.is_available():
        return table.pin_memory().to(device, non_blocking=True)
    return table.to(device)
