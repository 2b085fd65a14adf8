"""One ONNX file for every real scale: its kernel generator is part of the graph.

The kernels are made at a few nodes of the input cell, and every output pixel interpolates
between them, as in `spanpp_core.network.kernels.SampledKernels`. At a fraction p/q with p
up to 12 the nodes are the very positions of the pixels, and nothing is interpolated.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..network.scale import MAX_SCALE, MIN_SCALE
from .frozen import tensors_of
from .graph import Graph, described, features
from .onnx_grid import Grid, grid_of_input, interpolated_along


def build(checkpoint: Checkpoint, *, name: str, dtype: torch.dtype, opset: int) -> Any:
    """Returns the ``ModelProto`` of the network with a ``scale`` input.

    ``input`` (N, C, H, W) and ``output`` (N, 3, round(H*s), round(W*s)) are float32 in
    [0, 1] whatever ``dtype`` is; ``scale`` (1,) is float32, from 1 to 8. The kernels are
    made at every call, in float32.

    Args:
        checkpoint: The model.
        name: The model's name, for the metadata.
        dtype: float32 or float16, of weights and convolutions.
        opset: The version of the operators, from 17.
    """
    hyper = checkpoint.hyper
    graph = Graph(dtype, opset=opset)
    grid = grid_of_input(graph)
    made = features(graph, checkpoint, graph.to_dtype("input"))
    kernels = graph.to_dtype(_kernels(graph, checkpoint, grid))
    values = _convolved(graph, made, kernels, hyper.kernel_size)
    return graph.model(
        _interpolated(graph, graph.to_float32(values), grid),
        input_shape=("batch", hyper.in_channels, "height", "width"),
        output_shape=("batch", 3, "output_height", "output_width"),
        scale_input="scale",
        metadata=described(checkpoint, name, f"{MIN_SCALE} to {MAX_SCALE}, any"),
    )


def _kernels(graph: Graph, checkpoint: Checkpoint, grid: Grid) -> str:
    """Adds `network.igconv.IGConv.kernels_at` at the nodes, along both axes.

    Every weight in it is float32, whatever the convolutions are.
    """
    hyper = checkpoint.hyper
    tensors = tensors_of(checkpoint, "upsampler.")
    half = hyper.implicit_dim // 2

    def weight(name: str, tensor: Tensor) -> str:
        return graph.constant(f"upsampler.{name}", tensor.numpy(), np.float32)

    def product(a: str, b: str) -> str:
        return graph.node("Mul", a, b)

    freq = tensors["freq"].flatten(1) * math.pi  # (C*K*K, D)
    freq_x = weight("freq_x", freq[:, :half].contiguous())
    freq_y = weight("freq_y", freq[:, half:].contiguous())
    amplitude = tensors["amplitude"].flatten(1)
    of_cos = weight("of_cos", amplitude[:, :half].contiguous())
    of_sin = weight("of_sin", amplitude[:, half:].contiguous())

    largest = weight("largest", torch.tensor([float(hyper.scales[-1])]))
    two = weight("two", torch.tensor([2.0]))
    step = graph.node("Div", two, graph.node("Min", "scale", largest))
    by_step = weight("phase", tensors["phase.weight"].flatten() * math.pi)
    fixed = weight("phase_bias", tensors["phase.bias"] * math.pi)
    phase = graph.node("Add", product(by_step, step), fixed)  # (D/2,)

    def along(freq_name: str, *axes: int) -> str:
        at = graph.node("Unsqueeze", grid.nodes, graph.integers(*axes))
        return product(freq_name, at)

    along_y = graph.node("Add", along(freq_y, 1, 2, 3), phase)  # (n, 1, C*K*K, D/2)
    along_x = along(freq_x, 0, 2, 3)  # (1, n, C*K*K, D/2)
    cos_y, sin_y = graph.node("Cos", along_y), graph.node("Sin", along_y)
    cos_x, sin_x = graph.node("Cos", along_x), graph.node("Sin", along_x)
    cos = graph.node("Sub", product(cos_y, cos_x), product(sin_y, sin_x))
    sin = graph.node("Add", product(sin_y, cos_x), product(cos_y, sin_x))
    cos, sin = product(cos, of_cos), product(sin, of_sin)
    values = graph.node("Concat", cos, sin, axis=3)  # (n, n, C*K*K, D)
    for layer in range(hyper.latent_layers + 1):
        name = f"query_kernel.{2 * layer}"
        if layer:
            values = graph.node("Relu", values)
        matrix = tensors[f"{name}.weight"].flatten(1).t().contiguous()
        values = graph.node("MatMul", values, weight(f"{name}.weight", matrix))
        bias = weight(f"{name}.bias", tensors[f"{name}.bias"])
        values = graph.node("Add", values, bias)

    k = hyper.kernel_size
    taps = graph.integers(hyper.channels, k, k, 3)
    split = graph.node("Concat", grid.count, grid.count, taps, axis=0)
    values = graph.node("Reshape", values, split)  # (n, n, C, K, K, 3)
    values = graph.node("Transpose", values, perm=[3, 4, 2, 5, 1, 0])
    return graph.node("Reshape", values, graph.integers(k * k, hyper.channels, -1))


def _convolved(graph: Graph, made: str, kernels: str, size: int) -> str:
    """Adds a convolution as a sum of matrix products, one for each of its K * K taps.

    Runtimes such as OpenVINO take no weight of a shape that is only known at run time.

    Args:
        graph: Where to add.
        made: (N, C, H, W), the features.
        kernels: (K * K, C, channels)
        size: K.

    Returns:
        (N, H, W, channels)
    """
    sides = graph.node("Shape", made, start=2)
    around = [0, 0, size // 2, size // 2]
    padded = graph.node("Pad", made, graph.integers(*around, *around))
    padded = graph.node("Transpose", padded, perm=[0, 2, 3, 1])
    axes = graph.integers(1, 2)
    products: list[str] = []
    for tap in range(size * size):
        start = graph.integers(tap // size, tap % size)
        end = graph.node("Add", start, sides)
        seen = graph.node("Slice", padded, start, end, axes)
        matrix = graph.node(
            "Gather", kernels, graph.constant(f"tap_{tap}", tap, np.int64)
        )
        products.append(graph.node("MatMul", seen, matrix))
        if tap:
            products = [graph.node("Add", *products)]
    return products[0]


def _interpolated(graph: Graph, values: str, grid: Grid) -> str:
    """Adds the interpolation of rows, and then of columns, between the nodes.

    Args:
        graph: Where to add.
        values: (N, H, W, rgb * column nodes * row nodes)
        grid: What the scale means.

    Returns:
        (N, 3, output height, output width)
    """
    shape = graph.node("Shape", values)
    batch, height, width = (
        graph.node("Gather", shape, graph.integers(axis)) for axis in (0, 1, 2)
    )
    n, rgb, rest = grid.count, graph.integers(3), graph.integers(-1)

    def reshaped(value: str, *sides: str) -> str:
        return graph.node("Reshape", value, graph.node("Concat", *sides, axis=0))

    rows = reshaped(values, batch, height, rest, n)
    rows, out_height = interpolated_along(graph, rows, height, grid)
    cols = reshaped(rows, batch, out_height, width, rest)  # of rgb, column nodes
    cols = graph.node("Transpose", cols, perm=[0, 2, 1, 3])
    cols = reshaped(cols, batch, width, rest, n)  # of output rows, rgb
    cols, out_width = interpolated_along(graph, cols, width, grid)
    pixels = reshaped(cols, batch, out_width, out_height, rgb)
    return graph.node("Transpose", pixels, perm=[0, 3, 2, 1])
