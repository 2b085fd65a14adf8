"""What lies between two convolutions, by PyTorch's own compiler of pointwise kernels.

PyTorch carries it for CUDA and ROCm on every system, and calls it the jiterator: a function
of single values in C++ becomes a kernel for tensors of any shape, layout and dtype. As with
`triton_kernels`, each reads its inputs once and computes in float32; the results, however,
are new tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.cuda import jiterator

ADD_BIAS = """template <typename T> T add_bias(T y, T bias) {
    return T(float(y) + float(bias));
}"""

SILU = """template <typename T> T bias_silu(T y, T bias) {
    const float o = float(y) + float(bias);
    return T(o / (1.0f + expf(-o)));
}"""

RESIDUAL_GATE = """template <typename T> T bias_residual_gate(T y, T bias, T x) {
    const float o = float(y) + float(bias);
    return T((o + float(x)) * (1.0f / (1.0f + expf(-o)) - 0.5f));
}"""

SUM_BIAS = """template <typename T> T sum_bias(T a, T b, T c, T last, T bias) {
    return T(float(a) + float(b) + float(c) + float(last) + float(bias));
}"""


def add_bias(y: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns ``y + bias`` in ``dtype``, for ``y`` (N, C, H, W)."""
    return _kernel(ADD_BIAS)(y, _column(bias)).to(dtype)


def silu_(y: Tensor, bias: Tensor) -> Tensor:
    """Returns ``silu(y + bias)``, for ``y`` (N, C, H, W)."""
    return _kernel(SILU)(y, _column(bias))


def residual_gate_(y: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """Returns ``(o + x) * (sigmoid(o) - 1/2)`` for ``o = y + bias``."""
    return _kernel(RESIDUAL_GATE)(y, _column(bias), x)


def sum_bias_(
    maps: tuple[Tensor, Tensor, Tensor], bias: Tensor, last: Tensor
) -> Tensor:
    """Returns the sum of three maps, a bias and ``last``, in the dtype of ``last``."""
    # the widest of what a kernel is given is the dtype of its result
    return _kernel(SUM_BIAS)(*maps, last, _column(bias.to(last.dtype)))


@functools.cache
def _kernel(code: str) -> Callable[..., Tensor]:
    return cast("Callable[..., Tensor]", jiterator._create_jit_fn(code))


def _column(bias: Tensor) -> Tensor:
    return bias.view(1, -1, 1, 1)
