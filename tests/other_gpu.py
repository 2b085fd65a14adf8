"""A GPU that is neither CUDA nor ROCm, imitated by tensors in main memory.

What every CUDA device has, others lack: float64, addresses of tensors (DirectML) and some
operators. Mixing devices is an error, as on any.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

GPU = torch.device("mps", 0)
"""A type of device that PyTorch does not look for before it is used."""

COPIES = ("_to_copy", "copy_")


class There(Tensor):
    """A tensor on the device; what it holds lies in main memory."""

    held: Tensor
    # PyTorch 2.1 would make results in main memory of this class, too
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> There:
        return Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device="meta",  # for PyTorch, which cannot switch to the other
        )

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @property
    def device(self) -> torch.device:
        return GPU

    @property
    def is_meta(self) -> bool:
        return False

    def data_ptr(self) -> int:
        raise RuntimeError("Cannot access data pointer of Tensor without storage")

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        return OtherGPU()._run(operator, args, kwargs or {})


class OtherGPU(TorchDispatchMode):
    """Has tensors on `GPU` within a block.

    Args:
        missing: Names of operators that it does not have.
    """

    def __init__(self, *missing: str) -> None:
        super().__init__()
        self._missing = missing

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        return self._run(operator, args, kwargs or {})

    def _run(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = operator._overloadpacket.__name__
        leaves, _ = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        there = [t for t in tensors if isinstance(t, There)]
        if there and name in self._missing:
            raise NotImplementedError(f"aten::{name} is not implemented for the device")
        if there and name not in COPIES:
            elsewhere = [t for t in tensors if not isinstance(t, There) and t.ndim]
            assert not elsewhere, f"{name} of tensors on two devices"
        where = torch.device(kwargs.get("device") or (GPU if there else "cpu"))
        if where.type == GPU.type and "device" in kwargs:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        args, kwargs = tree_map_only(There, lambda t: t.held, (args, kwargs))
        made = operator(*args, **kwargs)
        if name.endswith("_"):
            return tensors[0]
        return tree_map_only(Tensor, _there, made) if where.type == GPU.type else made


def _there(held: Tensor) -> There:
    if held.dtype == torch.float64:
        raise TypeError("the device has no float64")
    return There(held)
