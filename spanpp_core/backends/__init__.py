"""What runs a network: PyTorch, Triton, CuPy, PyTorch's compiler, or OpenVINO."""

from .fallback import is_out_of_memory
from .selection import (
    BACKENDS,
    Backend,
    Backends,
    Region,
    chosen_backend,
    fastest_backend,
    map_channels,
)

__all__ = [
    "BACKENDS",
    "Backend",
    "Backends",
    "Region",
    "chosen_backend",
    "fastest_backend",
    "is_out_of_memory",
    "map_channels",
]
