"""Small tables on their way from the CPU to a GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def sent(table: Tensor, device: torch.device) -> Tensor:
    """Copies a tensor in main memory to a device.

    From pinned memory, where it is CUDA: an ordinary copy first waits for everything
    that the GPU still computes.
    """
    if device.type == "cuda" and torch.cuda.is_available():
        return table.pin_memory().to(device, non_blocking=True)
    return table.to(device)
