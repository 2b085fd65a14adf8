"""Which backend runs a job, and the networks that were compiled for it."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from threading import RLock
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ..network.cache import weights_content, weights_version
from ..network.model import SpanPP
from ..network.scale import Window
from .compiler import CompilerRunner
from .cupy import CupyRunner, is_fastest
from .fallback import is_out_of_memory, log_fallback
from .jiterator import JiteratorRunner
from .openvino import DTYPES as OPENVINO_DTYPES
from .openvino import OpenVINORunner
from .prepared_weights import PreparedRunner
from .triton import TritonRunner

Backend = Literal["auto", "torch", "jiterator", "triton", "cupy", "compile", "openvino"]
"""
"torch": PyTorch, on CUDA and ROCm with the weights prepared. "jiterator", "triton": there,
and with one kernel between two convolutions, compiled by PyTorch or by Triton. "cupy": a
convolution of our own that CuPy compiles, on CUDA. "compile": `torch.compile`. "openvino":
OpenVINO, on CPUs. "auto": the fastest that is installed, where the job outweighs compiling.
"""

BACKENDS: tuple[Backend, ...] = (
    "auto",
    "torch",
    "jiterator",
    "triton",
    "cupy",
    "compile",
    "openvino",
)

Region = Callable[[Tensor, Fraction, Window], Tensor]
"""Computes what `SpanPP.region` does, in any dtype; its result lasts until the next call."""

OPENVINO_PIXELS = 2**19
"""
Input pixels from which "auto" takes OpenVINO: those of a photo. It depends on nothing else,
so that an image comes out the same whatever was done before.
"""

TRITON_CAPABILITY = (7, 0)
"""The oldest CUDA compute capability that Triton compiles for."""


class Runner(Protocol):
    """A network as a backend runs it.

    Args:
        network: What to compile.

    Raises:
        Exception: The backend is not installed or cannot run the network here.
    """

    def __init__(self, network: SpanPP) -> None: ...

    @staticmethod
    def map_channels(channels: int, dtype: torch.dtype, device: torch.device) -> int:
        """Returns the channels that the maps of the body have in memory.

        Args:
            channels: What the network has; a runner may pad them with zeros.
            dtype: Of the body.
            device: Where it runs.
        """
        ...

    def region(self, network: SpanPP) -> Region:
        """Returns what computes `SpanPP.region` for a view of the network."""
        ...

    def trim(self) -> None:
        """Frees memory that is kept between runs, if it is much."""
        ...


RUNNERS: dict[Backend, type[Runner]] = {
    "torch": PreparedRunner,
    "jiterator": JiteratorRunner,
    "triton": TritonRunner,
    "cupy": CupyRunner,
    "compile": CompilerRunner,
    "openvino": OpenVINORunner,
}

STANDS_IN: dict[Backend, Backend] = {"triton": "jiterator", "cupy": "jiterator"}
"""
What "auto" takes where a backend cannot be used. Triton needs a C compiler, and many
containers have none.
"""


class Backends:
    """What is made of one network to run it: runners, and copies in other dtypes.

    Each is made when first needed and kept while the weights are the same, also where a host
    moves them to the device again for every run.

    Args:
        network: What `region` will be given, itself or views of it.
    """

    def __init__(self, network: SpanPP | None = None) -> None:
        self._runners: dict[tuple[Backend, int], Runner | None] = {}
        self._casts: dict[torch.dtype, tuple[SpanPP, Backends]] = {}
        self._version: object = None
        self._content: object = None
        self._lock = RLock()
        self.failures: dict[Backend, str] = {}
        """The backends that could not be used, and why."""
        if network is not None:
            # tensors made in inference mode carry no version that would tell of a reload
            network.register_load_state_dict_post_hook(self._reloaded)

    def _reloaded(self, *_: Any) -> None:
        self.forget()

    def region(self, network: SpanPP, backend: Backend, pixels: int) -> Region:
        """Returns what runs a network.

        A backend that is missing or fails, at the first call or a later one, is one line
        in the log, and PyTorch runs the network from then on; with "auto" what `STANDS_IN`
        has for it does. Running out of memory is raised, as a smaller tile helps there;
        where it already prevents the backend from starting, PyTorch runs the network this
        time.

        Args:
            network: The network that this belongs to, or a view of it.
            backend: What is asked for.
            pixels: The input pixels that are about to be read.
        """
        key, runner = self._picked(network, backend, pixels)
        if runner is None:
            return network.region
        fast = runner.region(network)

        def region(x: Tensor, scale: Fraction, window: Window) -> Tensor:
            if self._runners.get(key) is runner:
                try:
                    return fast(x, scale, window)
                except Exception as error:  # a backend may raise anything
                    if is_out_of_memory(error):
                        raise
                    self._runners[key] = self._failed(key[0], error)
            return network.region(x, scale, window)

        return region

    def usable(self, network: SpanPP, backend: Backend, pixels: int) -> Backend:
        """Returns the name of what `region` takes; it is made here, if it is not yet."""
        (kind, _), _ = self._picked(network, backend, pixels)
        return kind

    def _picked(
        self, network: SpanPP, backend: Backend, pixels: int
    ) -> tuple[tuple[Backend, int], Runner | None]:
        """Returns what runs a network, by its key; None for the network itself."""
        kind = chosen_backend(network, backend, pixels)
        key = (kind, torch.get_num_threads())
        if kind == "torch" and network.conv_cat.weight.device.type != "cuda":
            return key, None  # elsewhere nothing is gained by preparing
        with self._lock:  # threads of a host wait for the one that compiles
            runner = self._compiled(key, network)
            if runner is None and backend == "auto" and kind in self.failures:
                key = (STANDS_IN.get(kind, kind), key[1])
                runner = self._compiled(key, network)
        return key, runner

    def cast(self, network: SpanPP, dtype: torch.dtype) -> tuple[SpanPP, Backends]:
        """Returns a copy of a network in another dtype, on its device, and its backends.

        Args:
            network: As for `region`.
            dtype: float32, float16 or bfloat16.
        """
        wanted = dtype, network.conv_cat.weight.device
        with self._lock:
            self._follow(network)
            if dtype in self._casts:
                made, backends = self._casts[dtype]
                if (made.dtype, made.conv_cat.weight.device) == wanted:
                    return made, backends
            # hosts run in inference mode, and the copy is for use outside of it, too
            with torch.inference_mode(False):
                made = network.with_dtype(dtype)
            self._casts[dtype] = made, Backends(made)
            return self._casts[dtype]

    def _follow(self, network: SpanPP) -> None:
        """Drops what was made of other weights than a network has now."""
        version = weights_version(network)
        if version == self._version:
            return
        content = weights_content(network)
        if content != self._content:
            self.forget()
        self._version, self._content = version, content

    def _compiled(self, key: tuple[Backend, int], network: SpanPP) -> Runner | None:
        """Returns a runner for the weights as they are, or None where there is none."""
        self._follow(network)
        if key not in self._runners:
            kind = key[0]
            try:
                self._runners[key] = RUNNERS[kind](network)
            except Exception as error:  # a backend may raise anything
                if is_out_of_memory(error):
                    log_fallback(kind, error)
                    return None  # there may be room for it the next time
                self._runners[key] = self._failed(kind, error)
        return self._runners[key]

    def _failed(self, kind: Backend, error: Exception) -> None:
        self.failures[kind] = log_fallback(kind, error)

    def trim(self) -> None:
        """Frees memory that is kept between runs, if it is much."""
        for runner in list(self._runners.values()):
            if runner is not None:
                runner.trim()

    def forget(self) -> None:
        """Drops all that was made; it is made again when needed."""
        with self._lock:
            self._runners.clear()
            self._casts.clear()
            self._version = self._content = None

    def __reduce__(self) -> tuple[type[Backends], tuple[()]]:
        # Copies and pickles are of the weights, and compile their own.
        return Backends, ()


def fastest_backend(
    network: SpanPP,
    backend: Backend,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> Backend:
    """Returns the backend asked for, or for "auto" the fastest that is installed.

    Args:
        network: What will run.
        backend: What is asked for.
        dtype: What it will run in; None for the dtype it has.
        device: Where it will run; None for where it is.
    """
    if backend != "auto":
        return backend
    dtype, device = dtype or network.dtype, device or network.conv_cat.weight.device
    return _fastest(network.hyper.channels, dtype, device)


@functools.cache
def _fastest(channels: int, dtype: torch.dtype, device: torch.device) -> Backend:
    """Returns what is fastest; to look for packages takes longer than to launch kernels."""
    if device.type == "cuda" and is_fastest(channels, dtype, device):
        return "cupy"
    if device.type == "cuda":
        has_triton = find_spec("triton") is not None
        if has_triton and torch.cuda.get_device_capability(device) >= TRITON_CAPABILITY:
            return "triton"
        return "jiterator"
    measured = platform.machine().lower() in ("x86_64", "amd64")
    if device.type == "cpu" and measured and dtype in OPENVINO_DTYPES:
        return "openvino" if find_spec("openvino") else "torch"
    return "torch"


def chosen_backend(network: SpanPP, backend: Backend, pixels: int) -> Backend:
    """Returns what runs a job of so many input pixels; never "auto"."""
    kind = fastest_backend(network, backend)
    if backend == "auto" and kind == "openvino" and pixels < OPENVINO_PIXELS:
        return "torch"
    return kind


def map_channels(
    kind: Backend, channels: int, dtype: torch.dtype, device: torch.device
) -> int:
    """Returns `Runner.map_channels` of a backend that `fastest_backend` returned."""
    return RUNNERS[kind].map_channels(channels, dtype, device)
