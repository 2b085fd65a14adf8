"""One ONNX file for every whole scale: its kernel generator is part of the graph."""

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


def build(checkpoint: Checkpoint, *, name: str, dtype: torch.dtype, opset: int) -> Any:
    """Returns the ``ModelProto`` of the network with a ``scale`` input.

    ``input`` (N, C, H, W) and ``output`` (N, 3, H*s, W*s) are float32 in [0, 1]
    whatever ``dtype`` is; ``scale`` is one int64 from 1 to 8, which callers may leave
    out to have the model's default scale. The kernel is generated at every call, in
    float32, by a convolution whose weight is computed: the runtime has to allow that.

    Args:
        checkpoint: The model.
        name: The model's name, for the metadata.
        dtype: float32 or float16, of weights and convolutions.
        opset: The version of the operators, from 17.
    """
    hyper = checkpoint.hyper
    graph = Graph(dtype)
    scale = graph.constant("scale", [hyper.default_scale], np.int64)
    made = features(graph, checkpoint, graph.to_dtype("input"))
    kernel = graph.to_dtype(_kernel(graph, checkpoint, scale))
    k = hyper.kernel_size
    pixels = graph.node("Conv", made, kernel, kernel_shape=[k, k], pads=[k // 2] * 4)
    return graph.model(
        graph.to_float32(_pixel_shuffle(graph, pixels, scale)),
        input_shape=("batch", hyper.in_channels, "height", "width"),
        output_shape=("batch", 3, "output_height", "output_width"),
        scale_input=scale,
        opset=opset,
        metadata={
            **described(checkpoint, name, f"{MIN_SCALE} to {MAX_SCALE}, input 'scale'"),
            "default_scale": str(hyper.default_scale),
        },
    )


def _kernel(graph: Graph, checkpoint: Checkpoint, scale: str) -> str:
    """Adds `network.igconv.IGConv.kernel` at a scale that is only known at run time.

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

    size = graph.cast(scale, np.float32)  # (1,)
    largest = weight("largest", torch.tensor([float(hyper.scales[-1])]))
    two = weight("two", torch.tensor([2.0]))
    step = graph.node("Div", two, graph.node("Min", size, largest))
    by_step = weight("phase", tensors["phase.weight"].flatten() * math.pi)
    fixed = weight("phase_bias", tensors["phase.bias"] * math.pi)
    phase = graph.node("Add", product(by_step, step), fixed)  # (D/2,)

    # (2i + 1 - s) / s for i in [0, s): two whole numbers, rounded once
    ends = [graph.constant(f"range_{end}", end, np.int64) for end in (0, 1)]
    count = graph.node("Squeeze", scale)
    steps = graph.node("Range", ends[0], count, ends[1])
    odd = graph.node("Add", graph.node("Add", steps, steps), graph.integers(1))
    from_centre = graph.cast(graph.node("Sub", odd, scale), np.float32)
    coordinates = graph.node("Div", from_centre, size)  # (s,)

    def along(freq_name: str, *axes: int) -> str:
        at = graph.node("Unsqueeze", coordinates, graph.integers(*axes))
        return product(freq_name, at)

    along_y = graph.node("Add", along(freq_y, 1, 2, 3), phase)  # (s, 1, C*K*K, D/2)
    along_x = along(freq_x, 0, 2, 3)  # (1, s, C*K*K, D/2)
    cos_y, sin_y = graph.node("Cos", along_y), graph.node("Sin", along_y)
    cos_x, sin_x = graph.node("Cos", along_x), graph.node("Sin", along_x)
    cos = graph.node("Sub", product(cos_y, cos_x), product(sin_y, sin_x))
    sin = graph.node("Add", product(sin_y, cos_x), product(cos_y, sin_x))
    cos, sin = product(cos, of_cos), product(sin, of_sin)
    values = graph.node("Concat", cos, sin, axis=3)  # (s, s, C*K*K, D)
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
    split = graph.node("Concat", scale, scale, taps, axis=0)
    values = graph.node("Reshape", values, split)  # (s, s, C, K, K, 3)
    values = graph.node("Transpose", values, perm=[5, 0, 1, 2, 3, 4])
    return graph.node("Reshape", values, graph.integers(-1, hyper.channels, k, k))


def _pixel_shuffle(graph: Graph, pixels: str, scale: str) -> str:
    """Adds DepthToSpace with a block size that is only known at run time."""
    shape = graph.node("Shape", pixels)  # of (N, 3*s*s, H, W)
    batch, height, width = (
        graph.node("Gather", shape, graph.integers(axis)) for axis in (0, 2, 3)
    )
    rgb = graph.integers(3)
    split = graph.node("Concat", batch, rgb, scale, scale, height, width, axis=0)
    pixels = graph.node("Reshape", pixels, split)
    pixels = graph.node("Transpose", pixels, perm=[0, 1, 4, 2, 5, 3])
    rows, cols = graph.node("Mul", height, scale), graph.node("Mul", width, scale)
    whole = graph.node("Concat", batch, rgb, rows, cols, axis=0)
    return graph.node("Reshape", pixels, whole)
