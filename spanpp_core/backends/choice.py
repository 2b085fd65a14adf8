"""What runs a network: PyTorch as it is, PyTorch's compiler, or OpenVINO."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ..network.kernels import weights_version
from ..network.model import SpanPP
from ..network.scale import Window
from . import inductor, openvino
from .failure import give_up

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
    """Compiles a network when it is worth it, and keeps the result for its weights.

    Args:
        network: What `region` will be given, itself or views of it.
    """

    def __init__(self, network: SpanPP | None = None) -> None:
        self._made: dict[tuple[str, int], Compiled | None] = {}
        self._made_from: object = None
        if network is not None:
            # tensors made in inference mode carry no version that would tell of a reload
            network.register_load_state_dict_post_hook(self._reloaded)

    def _reloaded(self, *_: Any) -> None:
        self.forget()

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
        return {"openvino": openvino, "compile": inductor}[kind].Compiled(network)
    except Exception as error:  # whatever an optional package comes up with
        give_up(kind, error)
        return None
