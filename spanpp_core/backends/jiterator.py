"""The network on CUDA and ROCm: PyTorch's convolutions, and its jiterator between them.

One kernel does everything that lies between two convolutions, as in `triton`, but nothing
has to be installed: it is what Windows has, where Triton does not come with PyTorch.
"""

from __future__ import annotations

from ..network.model import SpanPP
from . import jiterator_kernels
from .prepared_weights import PreparedRunner


class JiteratorRunner(PreparedRunner):
    """A network with its weights prepared, and jiterator kernels between its convolutions.

    Args:
        network: On a CUDA or ROCm device; a copy of its weights is kept.

    Raises:
        Exception: The kernels cannot be compiled here, or compute something else than
            PyTorch on a small image.
    """

    def __init__(self, network: SpanPP) -> None:
        super().__init__(network)
        self._pointwise = jiterator_kernels
        self._check(network)
