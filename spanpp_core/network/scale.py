"""Scales as exact fractions, and the output sizes and sub-pixel grids that follow.

For a scale s = p/q in lowest terms the sub-pixel positions repeat every p output
pixels and every q input pixels: output pixel i has its centre at (i + 1/2) q/p input
pixels, so it lies in input cell ``floor((i + 1/2) q/p)``. A cell is the square of one
input pixel. The phase of an output pixel is its position modulo p.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import SupportsFloat

from ..errors import ScaleError

MIN_SCALE = 1
MAX_SCALE = 8

EXACT_PHASES = 12
"""
Scales p/q with p up to this have a kernel for each of their p * p positions: whole
scales, 4/3, x1.5, x2.25, up to the 144 kernels of x2.4 (12/5). Other scales interpolate
between kernels at a few nodes, which takes less time to make.
"""


def checked_scale(scale: object, trained: Sequence[int] = ()) -> int | float:
    """Returns ``scale`` as an int when it is whole and as a float otherwise.

    Args:
        scale: The scale asked for: an int, float or Fraction.
        trained: The trained scales, for the error message only.

    Raises:
        ScaleError: ``scale`` is not a number, or not in [1, 8].

    Example:
        >>> checked_scale(2.0), checked_scale(2.5)
        (2, 2.5)
    """
    number = math.nan
    if isinstance(scale, SupportsFloat) and not isinstance(scale, bool):
        number = float(scale)
    if not MIN_SCALE <= number <= MAX_SCALE:
        names = ", ".join(f"x{s}" for s in trained)
        raise ScaleError(
            f"scale {scale!r} is not possible: give a number from {MIN_SCALE} to"
            f" {MAX_SCALE}" + (f" (this model was trained on {names})" if names else "")
        )
    return int(number) if number.is_integer() else number


def output_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Returns the (height, width) in pixels of an image upscaled by ``scale``.

    Python's `round` (half to even) on each side, as ComfyUI sizes its outputs.
    """
    return round(height * scale), round(width * scale)


def grid_scale(scale: float) -> Fraction:
    """Returns the scale as a fraction p/q, with q up to a million.

    Example:
        >>> grid_scale(3.7), grid_scale(4 / 3)
        (Fraction(37, 10), Fraction(4, 3))
    """
    return Fraction(scale).limit_denominator(1_000_000)


def is_exact(scale: Fraction) -> bool:
    """Whether every position of a scale has its own kernel, see `EXACT_PHASES`."""
    return scale.numerator <= EXACT_PHASES


def exact_grid(scale: float) -> Fraction | None:
    """Returns the grid of a scale if `is_exact`, and None otherwise.

    Example:
        >>> exact_grid(2.5), exact_grid(2.73)
        (Fraction(5, 2), None)
    """
    grid = grid_scale(scale)
    return grid if is_exact(grid) else None


def nearest_exact(scale: float) -> Fraction:
    """Returns the fraction that `is_exact` and lies nearest to a scale.

    Example:
        >>> nearest_exact(2.73), nearest_exact(3.7)
        (Fraction(11, 4), Fraction(11, 3))
    """
    near = (Fraction(round(scale * q), q) for q in range(1, EXACT_PHASES + 1))
    return min(filter(is_exact, near), key=lambda grid: abs(grid - Fraction(scale)))


@dataclass(frozen=True)
class Window:
    """A rectangle of output pixels, and the place of the input at hand."""

    top: int
    left: int
    """(top, left): the first input pixel at hand, in the whole input image."""
    rows: range
    cols: range
    """The output pixels wanted, as positions in the whole output image."""


@dataclass(frozen=True)
class PhaseGroup:
    """Consecutive output phases along one axis that lie in the same input cell."""

    cell: int
    """The input cell, in [0, q)."""
    phases: range
    """The output phases in that cell: positions in [0, p)."""
    coordinates: tuple[float, ...]
    """Where each phase lies in its cell: -1 is one edge, 1 the other."""


def phase_groups(scale: Fraction) -> list[PhaseGroup]:
    """Returns the phases of a scale p/q along one axis, grouped by input cell.

    There are p of them in q cells: at a whole scale s one group, with coordinates
    -1 + (2i + 1)/s.

    Example:
        >>> [(g.cell, list(g.phases), g.coordinates) for g in phase_groups(Fraction(4))]
        [(0, [0, 1, 2, 3], (-0.75, -0.25, 0.25, 0.75))]
        >>> [(g.cell, list(g.phases)) for g in phase_groups(Fraction(3, 2))]
        [(0, [0]), (1, [1, 2])]
    """
    p, q = scale.numerator, scale.denominator
    groups: list[PhaseGroup] = []
    for cell in range(q):
        # (2i + 1) q / 2p in [cell, cell + 1), solved for i in integers
        first = -((q - 2 * p * cell) // (2 * q))
        last = -((q - 2 * p * (cell + 1)) // (2 * q))
        phases = range(first, last)
        at = tuple(float(Fraction((2 * i + 1) * q, p) - 2 * cell - 1) for i in phases)
        groups.append(PhaseGroup(cell, phases, at))
    return groups


def cell_of(pixel: int, scale: Fraction) -> int:
    """Returns the input cell in which the centre of an output pixel lies."""
    return (2 * pixel + 1) * scale.denominator // (2 * scale.numerator)
