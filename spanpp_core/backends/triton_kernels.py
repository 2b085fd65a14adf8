"""Triton kernels for what lies between two convolutions, one pass over memory each.

PyTorch adds the bias of a cuDNN convolution in a pass of its own, and takes another one for
each pointwise operation after it. Every kernel here reads its inputs once, computes in
float32 and writes once. They take maps of any shape, channels-last or contiguous, and are
compiled once per dtype and layout.

Importing this module needs Triton.
"""

# pyright: basic
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
"""Values that one program computes."""

WARPS = 4
"""Warps of 32 threads in a program; each thread computes 8 values."""


@triton.jit
def _channels(start, lanes, inner, channels: tl.constexpr):
    """The channels of values ``start + lanes``; one lasts for ``inner`` values.

    ``start`` may need 64 bits, what is added to it does not: divisions of 64 bits are slow.
    """
    first = ((start // inner) % channels).to(tl.int32)
    within = (start % inner).to(tl.int32)
    return (first + (within + lanes) // inner) % channels


@triton.jit
def bias_activation_kernel(
    y,
    bias,
    out,
    size,
    inner,
    silu: tl.constexpr,
    channels: tl.constexpr,
    block: tl.constexpr,
):
    """``silu(y + bias)``, or ``y + bias``."""
    start = tl.program_id(0).to(tl.int64) * block
    lanes = tl.arange(0, block)
    inside = lanes < size - start
    at = _channels(start, lanes, inner, channels)
    value = tl.load(y + start + lanes, mask=inside).to(tl.float32)
    value += tl.load(bias + at).to(tl.float32)
    if silu:
        value = value / (1 + tl.exp(-value))
    tl.store(out + start + lanes, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def bias_residual_gate_kernel(
    y, bias, x, out, size, inner, channels: tl.constexpr, block: tl.constexpr
):
    """``(y + bias + x) * (sigmoid(y + bias) - 1/2)``."""
    start = tl.program_id(0).to(tl.int64) * block
    lanes = tl.arange(0, block)
    inside = lanes < size - start
    at = _channels(start, lanes, inner, channels)
    value = tl.load(y + start + lanes, mask=inside).to(tl.float32)
    value += tl.load(bias + at).to(tl.float32)
    skip = tl.load(x + start + lanes, mask=inside).to(tl.float32)
    gated = (value + skip) * (1 / (1 + tl.exp(-value)) - 0.5)
    tl.store(out + start + lanes, gated.to(out.dtype.element_ty), mask=inside)


@triton.jit
def sum_bias_kernel(
    a, b, c, d, bias, out, size, inner, channels: tl.constexpr, block: tl.constexpr
):
    """``a + b + c + d + bias``."""
    start = tl.program_id(0).to(tl.int64) * block
    lanes = tl.arange(0, block)
    inside = lanes < size - start
    at = _channels(start, lanes, inner, channels)
    value = tl.load(a + start + lanes, mask=inside).to(tl.float32)
    value += tl.load(b + start + lanes, mask=inside).to(tl.float32)
    value += tl.load(c + start + lanes, mask=inside).to(tl.float32)
    value += tl.load(d + start + lanes, mask=inside).to(tl.float32)
    value += tl.load(bias + at).to(tl.float32)
    tl.store(out + start + lanes, value.to(out.dtype.element_ty), mask=inside)


IS_INTERPRETED = not isinstance(sum_bias_kernel, triton.JITFunction)
"""Whether Triton's interpreter runs the kernels, on tensors in main memory."""


def add_bias(y: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns ``y + bias`` in ``dtype``; written to ``y`` (N, C, H, W) if it is that."""
    y = _dense(y)
    out = y if y.dtype == dtype else torch.empty_like(y, dtype=dtype)
    _launch(bias_activation_kernel, (y, bias, out), silu=False)
    return out


def silu_(y: Tensor, bias: Tensor) -> Tensor:
    """Returns ``silu(y + bias)``, written to ``y`` (N, C, H, W) where that is dense."""
    y = _dense(y)
    _launch(bias_activation_kernel, (y, bias, y), silu=True)
    return y


def residual_gate_(y: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """Returns ``(o + x) * (sigmoid(o) - 1/2)`` for ``o = y + bias``, written to ``y``."""
    y = _dense(y)
    _launch(bias_residual_gate_kernel, (y, bias, _laid_out_as(y, x), y))
    return y


def sum_bias_(
    maps: tuple[Tensor, Tensor, Tensor], bias: Tensor, last: Tensor
) -> Tensor:
    """Returns the sum of three maps, a bias and ``last``, written to ``last``."""
    last = _dense(last)
    a, b, c = (_laid_out_as(last, each) for each in maps)
    _launch(sum_bias_kernel, (a, b, c, last, bias, last))
    return last


def _dense(y: Tensor) -> Tensor:
    last = torch.channels_last
    return y if y.is_contiguous(memory_format=last) else y.contiguous()


def _laid_out_as(y: Tensor, x: Tensor) -> Tensor:
    """Returns ``x`` with the strides of ``y``; convolutions may choose another layout."""
    if x.stride() == y.stride():
        return x
    return torch.empty_like(y, dtype=x.dtype).copy_(x)


def _launch(kernel, tensors: tuple[Tensor, ...], **constants) -> None:
    """Runs a kernel over all values of its last tensor, on that tensor's device."""
    out = tensors[-1]
    channels_last = out.is_contiguous(memory_format=torch.channels_last)
    inner = 1 if channels_last else out.shape[2] * out.shape[3]
    grid = (triton.cdiv(out.numel(), BLOCK),)
    with torch.cuda.device_of(out):
        kernel[grid](
            *tensors,
            out.numel(),
            inner,
            channels=out.shape[1],
            block=BLOCK,
            num_warps=WARPS,
            **constants,
        )
