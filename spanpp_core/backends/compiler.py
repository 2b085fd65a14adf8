"""The network compiled by `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from ..network.model import SpanPP
from ..network.scale import Window


class CompilerRunner:
    """The body compiled by PyTorch, once for all image sizes; it is the same at every scale.

    Without CUDA graphs: those are recorded per shape, keep the memory they were recorded
    with, and cannot be recorded with the allocator that ComfyUI chooses.
    """

    def __init__(self, network: SpanPP) -> None:
        self._features: Callable[[Tensor], Tensor] = torch.compile(
            network.features, dynamic=True
        )

    @staticmethod
    def map_channels(channels: int, dtype: torch.dtype, device: torch.device) -> int:
        """As `Runner.map_channels`: they are not padded."""
        return channels

    def region(self, network: SpanPP) -> Callable[[Tensor, Fraction, Window], Tensor]:
        """Returns what computes `SpanPP.region` with the network that was compiled."""

        def region(x: Tensor, scale: Fraction, window: Window) -> Tensor:
            return network.pixels(self._features(x), scale, window)

        return region

    def trim(self) -> None:
        """Nothing: no memory is kept between runs."""
