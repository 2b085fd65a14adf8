"""The network compiled by PyTorch, with CUDA graphs on CUDA."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from ..network.model import SpanPP
from ..network.scale import Window
from .failure import give_up


class Compiled:
    """The body compiled by PyTorch; it is the same at every scale."""

    def __init__(self, network: SpanPP) -> None:
        cuda = network.conv_cat.weight.is_cuda
        self._features: Callable[[Tensor], Tensor] = torch.compile(
            network.features,
            dynamic=False,  # tiles are of few shapes
            mode="reduce-overhead" if cuda else "default",  # that is CUDA graphs
        )
        self._works: bool | None = None

    def region(self, network: SpanPP) -> Callable[[Tensor, Fraction, Window], Tensor]:
        """Returns what runs the network that was compiled."""

        def features(x: Tensor) -> Tensor:
            if self._works is False:
                return network.features(x)
            try:
                made = self._features(x)
            except (MemoryError, torch.cuda.OutOfMemoryError):
                raise
            except Exception as error:
                if self._works:
                    raise
                self._works = False  # there is no C++ compiler, for one
                give_up("compile", error)
                return network.features(x)
            self._works = True
            return made

        def region(x: Tensor, scale: Fraction, window: Window) -> Tensor:
            return network.pixels(features(x), scale, window).to(x.dtype)

        return region

    def trim(self) -> None:
        """Nothing: CUDA graphs need the memory they were recorded with."""
