"""The network on CUDA and ROCm: PyTorch's convolutions, and Triton between them.

One Triton kernel does everything that lies between two convolutions. That halves the memory
traffic of a frame. It takes images of any size, and compiles in about a second.
"""

from __future__ import annotations

import torch

from ..network.model import SpanPP
from .prepared import PreparedRunner

SELF_CHECK_SIZE = (20, 24)
"""Height and width of the image that the kernels are checked on before their first use."""

SELF_CHECK_TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}
"""
The largest difference from PyTorch that is rounding, relative to the largest feature.
A kernel that was compiled wrongly for a new GPU is off by far more.
"""


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

    def _check(self, network: SpanPP) -> None:
        """Raises an error if the result is not that of PyTorch, to rounding."""
        device = self._bias.device
        generator = torch.Generator().manual_seed(0)
        shape = (1, network.hyper.in_channels, *SELF_CHECK_SIZE)
        image = torch.rand(shape, generator=generator).to(device)
        with torch.no_grad():
            made, expected = self.features(image), network.features(image)
        difference = (made - expected).abs().max().item()
        largest = expected.abs().max().item()
        if not difference <= SELF_CHECK_TOLERANCE[self._dtype] * largest:  # or NaN
            raise RuntimeError(
                f"the result of the Triton kernels is off by {difference:.2g}, where the"
                f" largest value is {largest:.2g}"
            )
