"""The kernel generator with a cache: the kernels of each scale are made once."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from fractions import Fraction
from threading import Lock
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from typing_extensions import Self, override

from .autocast import autocast_disabled
from .hyperparameters import Hyperparameters
from .igconv import IGConv
from .kernels import ExactKernels, Kernels

CACHE_BYTES = 64 * 2**20
"""Most bytes of kernels that one network caches. At 48 channels a whole scale takes up to
0.4 MB, a fraction such as 12/7 up to 7 MB."""

_one_at_a_time = Lock()
"""Threads of a host may run one model; networks are copied and pickled, and locks not."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _uncompiled(method: _Method) -> _Method:
    return cast("_Method", torch.compiler.disable(method))


@contextmanager
def untraced() -> Generator[None, None, None]:
    """Hides what runs inside from `torch.jit.trace`: results enter the graph as constants."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # pyright: ignore
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)  # pyright: ignore


def weights_version(module: nn.Module) -> object:
    """Returns a key that changes whenever the weights of a module move or change.

    It is made of their addresses and PyTorch's version counters, so edits through
    ``.data``, which PyTorch does not count, do not change it. DirectML's tensors have no
    address; there the Python object stands for it, a new one on every move.
    """
    modules, versions = [module], list[tuple[int, int]]()
    for each in modules:  # `nn.Module.parameters` takes three times as long
        for inner in each._modules.values():
            if inner is not None:
                modules.append(inner)
        for p in each._parameters.values():
            if p is not None:
                try:
                    address = p.data_ptr()
                except RuntimeError:
                    address = id(p)
                versions.append((address, 0 if p.is_inference() else p._version))
    return tuple(versions)


def weights_content(module: nn.Module) -> object:
    """Returns a key of what the weights of a module are, and of their dtypes and devices.

    It stays the same where weights leave a device and come back, which `weights_version`
    sees as a change. It takes about a millisecond.
    """
    weights = [p.detach() for p in module.parameters()]
    there = weights[0].device
    values = torch.cat([w.reshape(-1).to(there, torch.float32) for w in weights])
    return (
        tuple((w.dtype, w.device) for w in weights),
        hash(values.cpu().numpy().tobytes()),
    )


class CachedIGConv(IGConv):
    """A kernel generator that caches the kernels it made, per scale, dtype and device.

    Its weights stay float32 when the network is cast. They are only read when a kernel is
    made, so rounding them would cost accuracy and save no time.
    """

    def __init__(self, hyper: Hyperparameters) -> None:
        super().__init__(hyper)
        self._made: dict[tuple[Fraction, torch.dtype, torch.device], Kernels] = {}
        self._made_from: object = None

    @_uncompiled
    def kernels_for(
        self, scale: Fraction, dtype: torch.dtype, device: torch.device
    ) -> Kernels:
        """Returns the kernels of a scale, computed in float32 and cast to ``dtype``.

        They are kept until the weights move, change or are reloaded, the least recently
        used going first when `CACHE_BYTES` is reached.
        """
        with _one_at_a_time:
            weights = weights_version(self)
            if weights != self._made_from:
                self._made.clear()
                self._made_from = weights
            key = (scale, dtype, device)
            kernels = self._made.pop(key, None)
            if kernels is None:
                kernels = self._generated(*key)
            self._made[key] = kernels
            while sum(k.nbytes for k in self._made.values()) > CACHE_BYTES:
                self._made.pop(next(iter(self._made)))
            return kernels

    def _generated(
        self, scale: Fraction, dtype: torch.dtype, device: torch.device
    ) -> Kernels:
        """Generates kernels that can be kept.

        They are ordinary tensors even inside a host's inference mode or autocast, and
        serve outside of it.
        """
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            autocast_disabled(self.freq.device.type),
            untraced(),
        ):
            return self.kernels(scale).to(device, dtype)

    def whole(self, scale: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Returns the kernel of a whole scale: the weight of one convolution."""
        kernels = cast("ExactKernels", self.kernels_for(Fraction(scale), dtype, device))
        return kernels.weight

    def forget(self) -> None:
        """Drops the kernels; they are made again when needed."""
        with _one_at_a_time:
            self._made.clear()

    def __getstate__(self) -> dict[str, Any]:
        # Copies and pickles hold the weights only; kernels are made again when needed.
        return {**self.__dict__, "_made": {}, "_made_from": None}

    @override
    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        # Tensors made in inference mode carry no version that would tell of a reload.
        self._made_from = None
        super()._load_from_state_dict(*args, **kwargs)

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def uncast(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(uncast, recurse)
