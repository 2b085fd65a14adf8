"""What runs a network: PyTorch as it is, PyTorch's compiler, or OpenVINO."""

from __future__ import annotations

import importlib.util
import logging
import platform
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor

from . import openvino
from .kernels import weights_version
from .scale import Window

if TYPE_CHECKING:
    from .model import SpanPP

Backend = Literal["auto", "torch", "compile", "openvino"]
"""
"torch": PyTorch as it is. "compile": PyTorch's compiler, with CUDA graphs on CUDA.
"openvino": OpenVINO, on CPUs. "auto": the fastest of them that is there, where there is
more to do than compiling costs.
"""

BACKENDS: tuple[Backend, ...] = ("auto", "torch", "compile", "openvino")

Region = Callable[[Tensor, Fraction, Window], Tensor]
"""Computes what `SpanPP.region` does; its result lasts until the next call."""

WORTH = {"openvino": 2**19, "compile": 2**32}
"""
Input pixels from which "auto" compiles: those of a photo, and of a minute of video. It
asks for nothing else, so that an image comes out the same whatever was done before.
"""


class Compiled(Protocol):
    """A network compiled by something."""

    def region(self, network: SpanPP) -> Region:
        """Returns what runs the network that was compiled."""
        ...

    def trim(self) -> None:
        """Gives back memory that is kept between runs, if it is much."""
        ...


class Backends:
    """Compiles a network when it is worth it, and keeps the result for its weights."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, int], Compiled | None] = {}
        self._made_from: object = None

    def region(self, network: SpanPP, backend: Backend, pixels: int) -> Region:
        """Returns what runs a network.

        Args:
            network: The network that this belongs to, or a view of it.
            backend: What is asked for. Where it is missing or fails to compile, that is
                one line in the log and PyTorch as it is.
            pixels: The input pixels that are about to be read.
        """
        kind = chosen(network, backend, pixels)
        if kind == "torch":
            return network.region
        weights = weights_version(network)
        if weights != self._made_from:
            self.forget()
            self._made_from = weights
        key = (kind, torch.get_num_threads())
        if key not in self._made:
            self._made[key] = _compiled(kind, network)
        made = self._made[key]
        return network.region if made is None else made.region(network)

    def trim(self) -> None:
        """Gives back memory that is kept between runs, if it is much."""
        for made in self._made.values():
            if made is not None:
                made.trim()

    def forget(self) -> None:
        """Drops what was compiled: the weights are others."""
        self._made.clear()
        self._made_from = None

    def __reduce__(self) -> tuple[type[Backends], tuple[()]]:
        # Copies and pickles are of the weights, and compile their own.
        return Backends, ()


def fastest(network: SpanPP, backend: Backend) -> Backend:
    """Returns the backend asked for, or for "auto" the fastest there is."""
    if backend != "auto":
        return backend
    device = network.conv_cat.weight.device.type
    if device == "cuda" and importlib.util.find_spec("triton"):
        return "compile"
    measured = platform.machine().lower() in ("x86_64", "amd64")
    if device == "cpu" and measured and network.dtype in openvino.DTYPES:
        return "openvino" if importlib.util.find_spec("openvino") else "torch"
    return "torch"


def chosen(network: SpanPP, backend: Backend, pixels: int) -> Backend:
    """Returns what runs a job of so many input pixels; never "auto"."""
    kind = fastest(network, backend)
    small = backend == "auto" and pixels < WORTH.get(kind, 0)
    return "torch" if small else kind


def _compiled(kind: str, network: SpanPP) -> Compiled | None:
    """Compiles a network, or says why not."""
    try:
        return openvino.Compiled(network) if kind == "openvino" else _Inductor(network)
    except Exception as error:  # whatever an optional package comes up with
        _give_up(kind, error)
        return None


def _give_up(kind: str, error: Exception) -> None:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    message = "backend %s can not be used, running on PyTorch: %s"
    logging.getLogger("spanpp").warning(message, kind, reason)


class _Inductor:
    """The body compiled by PyTorch; it is the same at every scale."""

    def __init__(self, network: SpanPP) -> None:
        cuda = network.conv_cat.weight.is_cuda
        self._features: Callable[[Tensor], Tensor] = torch.compile(
            network.features,
            dynamic=False,  # tiles are of few shapes
            mode="reduce-overhead" if cuda else "default",  # that is CUDA graphs
        )
        self._works: bool | None = None

    def region(self, network: SpanPP) -> Region:
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
                _give_up("compile", error)
                return network.features(x)
            self._works = True
            return made

        def region(x: Tensor, scale: Fraction, window: Window) -> Tensor:
            return network.pixels(features(x), scale, window).to(x.dtype)

        return region

    def trim(self) -> None:
        """Nothing: CUDA graphs need the memory they were recorded with."""
