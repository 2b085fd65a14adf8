"""The first and last layers, their dtype, and the memory layout of convolutions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from typing_extensions import Self, override

from .body import RepConv


class _Float32WithBfloat16(nn.Module):
    """A convolution that stays float32 where the blocks are bfloat16.

    These are the linear layers at both ends of the network. In bfloat16 a pixel near
    white is off by half an 8-bit step before anything is computed, and the layers that
    `LastLayers` composes are rounded twice: results were off by up to 2/255. In float32
    all but one value in two thousand are within 1/255, for 2 % more time. float16 is
    accurate enough.
    """

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def in_its_dtype(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if end_dtype(moved.dtype) == moved.dtype:
                return moved
            return tensor.to(moved.device, end_dtype(moved.dtype))

        return super()._apply(in_its_dtype, recurse)


class EndRepConv(_Float32WithBfloat16, RepConv):
    """The first convolution, and the one after the last block."""


class EndConv(_Float32WithBfloat16, nn.Conv2d):
    """The 1x1 convolution that joins the feature maps."""


def end_dtype(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype of the first and last layers around a body in ``dtype``."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


def conv_layout(device: torch.device, dtype: torch.dtype) -> torch.memory_format:
    """Returns the memory format in which the convolutions of a device are fastest.

    CPUs and tensor cores want channels last. float32 runs without tensor cores here,
    because TF32 is only as accurate as float16; cuDNN then transposes channels-last
    inputs, and MIOpen does in any dtype.
    """
    if device.type == "cpu":
        return torch.channels_last
    has_tensor_cores = device.type == "cuda" and torch.version.hip is None
    if has_tensor_cores and dtype != torch.float32:
        return torch.channels_last
    return torch.contiguous_format


def laid_out(x: Tensor, dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
    """Returns images (N, C, H, W) in a dtype and a memory format, as PyTorch knows it.

    The first axis of an image that is alone may have any stride, as in ``frames[0][None]``.
    PyTorch tells the format by it: convolutions would be those of the other format, slower
    and rounded otherwise. `Tensor.to` mends that, and `Tensor.contiguous` alone does not.
    """
    # a tracer would record any cast, even to itself
    if x.dtype != dtype or not torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        x = x.to(dtype, memory_format=layout)
    return x.contiguous(memory_format=layout)  # a part of an image has gaps
