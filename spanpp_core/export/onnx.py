"""One ONNX file at one scale, whole or fractional."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import torch

from ..checkpoint import Checkpoint
from ..errors import ExportError
from ..network.scale import EXACT_PHASES, exact_grid, nearest_exact, output_size
from .frozen import one_kernel, repeats_last
from .graph import Graph, described, features, span_name


def build(
    checkpoint: Checkpoint,
    scale: float,
    *,
    name: str,
    dtype: torch.dtype,
    opset: int,
    size: tuple[int, int] | None,
    as_span: bool = False,
) -> Any:
    """Returns the ``ModelProto`` of the network at one scale.

    Fused convolutions, the scale's kernel as one of the weights, and DepthToSpace;
    ``input`` (N, C, H, W) and ``output`` (N, 3, round(H*s), round(W*s)) are float32 in
    [0, 1] whatever ``dtype`` is, and the output is not clamped.

    Args:
        checkpoint: The model.
        scale: From 1 to 8.
        name: The model's name, for the metadata.
        dtype: float32 or float16, of weights and convolutions. Kernels are made in
            float32 before they are cast.
        opset: The version of the operators, from 17.
        size: The only (height, width) of the input, at batch 1, or None for any.
        as_span: Make the graph that SPAN has, with its names: every convolution has a
            bias, and both ends are of the ``dtype``. Whole scales only.

    Raises:
        ExportError: The scale has no kernel for each position.
    """
    grid = grid_of(scale)
    graph = Graph(dtype, opset=opset, half_ends=as_span)
    names = span_name if as_span else str
    made = features(graph, checkpoint, graph.to_dtype("input"), names)
    pixels = _upsampled(graph, checkpoint, made, scale, grid, size, as_span=as_span)
    channels = checkpoint.hyper.in_channels
    if size is None:
        input_shape = ("batch", channels, "height", "width")
        output_shape = ("batch", 3, "output_height", "output_width")
    else:
        input_shape = (1, channels, *size)
        output_shape = (1, 3, *output_size(*size, scale))
    return graph.model(
        graph.to_float32(pixels),
        input_shape=input_shape,
        output_shape=output_shape,
        metadata=described(checkpoint, name, f"{scale:g}"),
    )


def grid_of(scale: float) -> Fraction:
    """Returns the fraction whose grid a file holds.

    Raises:
        ExportError: The scale interpolates its kernels, which takes more than a
            convolution and a pixel shuffle.
    """
    grid = exact_grid(scale)
    if grid is None:
        near = nearest_exact(scale)
        raise ExportError(
            f"x{scale:g} is no fraction p/q with p up to {EXACT_PHASES}, which a file"
            f" needs; choose x{float(near):g} ({near})"
        )
    return grid


def _upsampled(
    graph: Graph,
    checkpoint: Checkpoint,
    value: str,
    scale: float,
    grid: Fraction,
    size: tuple[int, int] | None,
    *,
    as_span: bool,
) -> str:
    """Adds the strided convolution, the pixel shuffle, and the crop to the size."""
    p, q = grid.numerator, grid.denominator
    kernel = one_kernel(checkpoint, grid)
    radius = checkpoint.hyper.kernel_size // 2
    # As many cells after the image as the last, partly cropped block may look at.
    beyond = radius + q - 1
    weights = [graph.weight("upsampler.0.weight", kernel)]
    if as_span:
        weights.append(graph.weight("upsampler.0.bias", torch.zeros(len(kernel))))
    value = graph.node(
        "Conv",
        value,
        *weights,
        kernel_shape=list(kernel.shape[2:]),
        strides=[q, q],
        pads=[radius, radius, beyond, beyond],
    )
    if p > 1 or as_span:
        value = graph.node("DepthToSpace", value, blocksize=p, mode="CRD")
    if q == 1:
        return value
    if size is not None:
        sides, last = output_size(*size, scale), repeats_last(size, scale, grid)
        inside = graph.integers(*(side - again for side, again in zip(sides, last)))
        repeated = graph.integers(*last) if any(last) else None
    else:
        given = graph.node("Shape", "input", start=2)
        inside = _output_size(graph, given, scale)
        repeated = None
        if q % 2 == 0:  # otherwise no pixel's centre ever lies on the image's edge
            repeated = _repeats_last(graph, given, inside, grid)
            inside = graph.node("Sub", inside, repeated)
    start, axes = graph.integers(0, 0), graph.integers(2, 3)
    value = graph.node("Slice", value, start, inside, axes)
    if repeated is None:
        return value
    before = graph.integers(0, 0, 0, 0, 0, 0)
    pads = graph.node("Concat", before, repeated, axis=0)
    return graph.node("Pad", value, pads, mode="edge")


def _output_size(graph: Graph, size: str, scale: float) -> str:
    """Adds `output_size`: in double precision, half to even, as Python rounds."""
    factor = graph.constant("scale", scale, np.float64)
    exact = graph.node("Mul", graph.cast(size, np.float64), factor)
    return graph.cast(graph.node("Round", exact), np.int64)


def _repeats_last(graph: Graph, size: str, wanted: str, grid: Fraction) -> str:
    """Adds `repeats_last`: 1 or 0 for the rows and for the columns."""
    # the centre of the last pixel, (wanted - 1/2) q/p, is not inside of the image
    doubled = graph.node("Mul", wanted, graph.integers(2 * grid.denominator))
    centre = graph.node("Sub", doubled, graph.integers(grid.denominator))
    edge = graph.node("Mul", size, graph.integers(2 * grid.numerator))
    return graph.cast(graph.node("GreaterOrEqual", centre, edge), np.int64)
