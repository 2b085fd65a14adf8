"""Small tables of numbers, made on the CPU and copied to the device that reads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_tables: dict[tuple[tuple[float, ...], torch.dtype, torch.device], Tensor] = {}


def cached_table(
    numbers: Sequence[float], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Returns numbers as a tensor (N,), made once for each GPU and dtype."""
    key = (tuple(numbers), dtype, device)
    if key in _tables:
        return _tables[key]
    with torch.inference_mode(False):
        made = to_device(torch.tensor(key[0], dtype=dtype, device="cpu"), device)
    if type(made) is Tensor and device.type != "cpu":  # not a tracer's
        _tables[key] = made
    return made


def to_device(table: Tensor, device: torch.device) -> Tensor:
    """Copies a tensor in main memory to a device.

    From pinned memory, where it is CUDA: an ordinary copy first waits for everything
    that the GPU still computes.
    """
    if device.type == "cuda" and torch.cuda.is_available():
        return table.pin_memory().to(device, non_blocking=True)
    return table.to(device)
