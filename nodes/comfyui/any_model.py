"""What goes in and out as UPSCALE_MODEL: for our nodes and for all others."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...spanpp_core import ScaleError, SpanPPDescriptor
from ...spanpp_core import as_spanpp as of_this_copy
from ...spanpp_core.backends import is_out_of_memory

STEPS = 240
"""
Scales that are whole multiples of 1/240 are safe in ComfyUI's own upscale node and those
that copy its loop. These place a tile every 480 pixels, at round(position * scale): where
480 * scale is an even whole number, tiles meet. Elsewhere a column between two tiles may
stay empty, which becomes NaN.
"""

TIES = 1 + 2**-40
"""
What makes halves of a pixel round up everywhere: scales such as 4/3 are not exact in
binary, and their products fall on either side of a half.
"""

SMALLER_STEPS = 16
"""The same for tiles placed every 224 or 96 pixels: the ones after running out of memory."""

SEEN = 1e-4
"""A difference between scales that is worth a word."""


def as_spanpp(model: object) -> SpanPPDescriptor:
    """Returns ``model`` as the SpanPP model it must be, at the scale it was set to.

    Raises:
        TypeError: It is another network; the message names it.
    """
    try:
        ours = of_this_copy(model)
    except TypeError as error:
        raise TypeError(
            f"{error}; connect Load SpanPP, or use 'Upscale Image (using Model)' for it"
        ) from None
    return ours.at_scale(getattr(ours, "wanted_scale", ours.scale))


def for_any_node(model: SpanPPDescriptor, scale: float) -> SpanPPDescriptor:
    """Returns a view at a scale that other nodes too can put together from tiles.

    `as_spanpp` finds the very scale in it. What other nodes see is the nearest
    multiple of 1/240, at most 1/480 away: at x1.33 of 1920 pixels 2552 and not 2554.

    Raises:
        ScaleError: ``scale`` is not a number from 1 to 8.
    """
    exact = model.at_scale(scale)
    near = round(exact.scale * STEPS) / STEPS
    is_binary = (near * 16).is_integer()
    view: Any = model.at_scale(near if is_binary else near * TIES)
    view.wanted_scale = exact.scale
    view._call_fn = _run
    return view


def elsewhere(model: SpanPPDescriptor) -> float | None:
    """Returns the scale of a model in other nodes, if it is visibly another one."""
    scale = for_any_node(model, model.scale).scale
    return scale if abs(scale - model.scale) > SEEN else None


def _run(network: Any, image: Tensor) -> Tensor:
    """Runs a tile of another node, which would go on with smaller tiles after an error.

    Raises:
        ScaleError: Memory ran out, and smaller tiles would not meet.
    """
    try:
        return network(image)
    except Exception as error:
        if is_out_of_memory(error) and network.scale * SMALLER_STEPS % 1:
            raise ScaleError(
                f"memory ran out in tiles of {image.shape[3]}x{image.shape[2]} pixels,"
                f" and smaller ones would leave gaps at x{network.scale:.6g}; use"
                " Upscale (SpanPP), or a scale such as x1.25 or x1.5"
            ) from error
        raise
