"""The network on CUDA and ROCm: PyTorch's convolutions, and Triton between them.

One Triton kernel does everything that lies between two convolutions. That halves the memory
traffic of a frame. It takes images of any size, and compiles in about a second.
"""

from __future__ import annotations

from ..network.model import SpanPP
from .prepared_weights import PreparedRunner


class TritonRunner(PreparedRunner):
    """A network with its weights prepared, and Triton kernels between its convolutions.

    Args:
        network: On a CUDA or ROCm device; a copy of its weights is kept.

    Raises:
        Exception: Triton is not installed, cannot compile for this GPU, or computes
            something else than PyTorch on a small image.
    """

    def __init__(self, network: SpanPP) -> None:
        from . import triton_kernels  # noqa: PLC0415 - needs an optional package

        device = network.conv_cat.weight.device
        if device.type != "cuda" and not triton_kernels.IS_INTERPRETED:
            raise ValueError(f"Triton runs on CUDA and ROCm devices, not on {device}")
        super().__init__(network)
        self._pointwise = triton_kernels
        self._check(network)
