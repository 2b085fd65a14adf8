"""What the GPU of this machine can run."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from spanpp_core.backends import cupy


def runs_cupy() -> bool:
    """Whether it runs the CUDA convolution, of 16 channels in float16."""
    if not torch.cuda.is_available() or find_spec("cupy") is None:
        return False
    return cupy._reason_against(16, torch.float16, torch.device("cuda")) is None
