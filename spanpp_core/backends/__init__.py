"""What runs a network: PyTorch as it is, PyTorch's compiler, or OpenVINO."""

from .choice import BACKENDS, Backend, Backends, Region, chosen, fastest

__all__ = ["BACKENDS", "Backend", "Backends", "Region", "chosen", "fastest"]
