"""What a scale means in an ONNX graph that learns it at run time.

Whole numbers stay below 2**31, as some runtimes have no larger ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..network.kernels import NODES, nodes
from ..network.scale import EXACT_PHASES
from .graph import Graph

DECIMALS = 4
"""How many decimals of a scale count, unless it is a fraction with a small numerator."""


@dataclass(frozen=True)
class Grid:
    """The names of what follows from the input ``scale``."""

    p: str
    q: str
    """(1,): the scale is p/q, in lowest terms where it `is_exact`."""
    nodes: str
    """(nodes,): where in a cell, from -1 to 1, kernels are made."""
    node_indices: str
    """(nodes,): 0, 1, ..."""
    count: str
    """(1,): how many there are, along each axis."""


def grid_of_input(graph: Graph) -> Grid:
    """Adds what follows from the scale: `network.scale.grid_scale` and the nodes."""
    # the smallest q at which s * q is a whole number p up to EXACT_PHASES
    denominators = np.arange(1, EXACT_PHASES + 1)
    steps = graph.constant("denominators", denominators, np.float32)
    products = graph.node("Mul", "scale", steps)
    rounded = graph.node("Round", products)
    off = graph.node("Abs", graph.node("Sub", products, rounded))
    fits = graph.node(
        "Less", off, graph.constant("whole", 0.2 / 10**DECIMALS, np.float32)
    )
    most = graph.constant("phases", EXACT_PHASES + 0.5, np.float32)
    fits = graph.node("And", fits, graph.node("Less", rounded, most))
    found = graph.cast(fits, np.int64)
    first = graph.node("ArgMax", found, axis=0, keepdims=1)
    is_exact = graph.cast(graph.node("Gather", found, first), np.bool_)

    unit = 10**DECIMALS
    in_units = graph.node("Mul", "scale", graph.constant("unit", unit, np.float32))
    choices = (
        (graph.node("Gather", rounded, first), graph.node("Round", in_units)),
        (
            graph.node("Gather", steps, first),
            graph.constant("sampled_q", [unit], np.float32),
        ),
        (
            graph.node("Gather", rounded, first),
            graph.constant("sampled_nodes", [NODES], np.float32),
        ),
    )
    p, q, count = (
        graph.cast(graph.node("Where", is_exact, exact, sampled), np.int64)
        for exact, sampled in choices
    )
    indices = _counted(graph, count)
    _, exact_at = _cells(graph, indices, p, q)
    chebyshev = [*nodes(), *[0.0] * (EXACT_PHASES - NODES)]
    sampled_at = graph.constant("chebyshev_nodes", chebyshev, np.float32)
    sampled_at = graph.node("Gather", sampled_at, indices)
    at = graph.node("Where", is_exact, exact_at, sampled_at)
    return Grid(p, q, at, indices, count)


def _counted(graph: Graph, count: str) -> str:
    """Adds 0, 1, ... up to a number, without it."""
    ends = [graph.constant(f"range_{end}", end, np.int64) for end in (0, 1)]
    return graph.node("Range", ends[0], graph.node("Squeeze", count), ends[1])


def _cells(graph: Graph, pixels: str, p: str, q: str) -> tuple[str, str]:
    """Adds in which cell the centre of each pixel lies, and where in it, in [-1, 1)."""
    doubled = _doubled(graph, pixels, q)
    period = graph.node("Mul", p, graph.integers(2))
    cell = graph.node("Div", doubled, period)
    within = graph.node("Sub", doubled, graph.node("Mul", cell, period))
    at = graph.node("Div", graph.cast(within, np.float32), graph.cast(p, np.float32))
    return cell, graph.node("Sub", at, graph.constant("one", 1.0, np.float32))


def _doubled(graph: Graph, pixels: str, q: str) -> str:
    """Adds (2i + 1) q, which is 2p times the position of the centre of pixel i."""
    odd = graph.node("Add", graph.node("Add", pixels, pixels), graph.integers(1))
    return graph.node("Mul", odd, q)


def interpolated_along(
    graph: Graph, values: str, side: str, grid: Grid
) -> tuple[str, str]:
    """Adds the interpolation along one axis.

    Args:
        graph: Where to add.
        values: (N, side, any, nodes)
        side: (1,), the input's number of rows or columns.
        grid: What the scale means.

    Returns:
        (N, output side, any, 1), and (1,) the output side.
    """
    out_side = _output_side(graph, side, grid)
    pixels = _counted(graph, out_side)
    # a centre on the image's edge: the last pixel repeats its neighbour
    period = graph.node("Mul", grid.p, graph.integers(2))
    end = graph.node("Mul", period, side)
    outside = graph.node("GreaterOrEqual", _doubled(graph, pixels, grid.q), end)
    pixels = graph.node("Sub", pixels, graph.cast(outside, np.int64))
    cell, at = _cells(graph, pixels, grid.p, grid.q)
    seen = graph.node("Gather", values, cell, axis=1)
    weights = graph.node("Unsqueeze", _lagrange(graph, at, grid), graph.integers(2))
    return graph.node("MatMul", seen, weights), out_side


def _output_side(graph: Graph, side: str, grid: Grid) -> str:
    """Adds `network.scale.output_size` along one axis: halves go to the even side."""
    exact = graph.node("Mul", side, grid.p)
    whole = graph.node("Div", exact, grid.q)
    rest = graph.node("Sub", exact, graph.node("Mul", whole, grid.q))
    half = graph.node("Sub", graph.node("Add", rest, rest), grid.q)
    zero, two = graph.integers(0), graph.integers(2)
    is_odd = graph.cast(graph.node("Mod", whole, two), np.bool_)
    tie_up = graph.node("And", graph.node("Equal", half, zero), is_odd)
    up = graph.node("Or", graph.node("Greater", half, zero), tie_up)
    return graph.node("Add", whole, graph.cast(up, np.int64))


def _lagrange(graph: Graph, at: str, grid: Grid) -> str:
    """Adds the weight of each node at positions (pixels,): (pixels, nodes)."""
    one = graph.constant("one", 1.0, np.float32)
    row, col = graph.integers(0), graph.integers(1)
    is_itself = graph.node(
        "Equal",
        graph.node("Unsqueeze", grid.node_indices, col),
        graph.node("Unsqueeze", grid.node_indices, row),
    )  # (nodes, nodes)
    apart = graph.node(
        "Sub",
        graph.node("Unsqueeze", grid.nodes, col),
        graph.node("Unsqueeze", grid.nodes, row),
    )
    apart = graph.node("Where", is_itself, one, apart)
    distance = graph.node("Sub", graph.node("Unsqueeze", at, col), grid.nodes)
    factors = graph.node("Div", graph.node("Unsqueeze", distance, col), apart)
    factors = graph.node("Where", is_itself, one, factors)  # (pixels, nodes, nodes)
    return graph.product_over_last(factors)
