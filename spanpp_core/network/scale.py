"""Scales as exact fractions, and the output sizes and sub-pixel grids that follow.

For a scale s = p/q in lowest terms the sub-pixel positions repeat every p output
pixels and every q input pixels: output pixel i has its centre at (i + 1/2) q/p input
pixels, so it lies in input cell ``floor((i + 1/2) q/p)``.
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

EXACT_DENOMINATOR = 16
"""
Fractions with a denominator up to this are evaluated exactly as given. The number of
kernels to make grows with the square of the numerator, so anything finer is replaced
by the simplest fraction that gives the same output size (see `grid_scale`).
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


def grid_scale(scale: float, height: int, width: int) -> Fraction:
    """Returns the fraction whose sub-pixel grid is evaluated for an image.

    Scales with a denominator up to `EXACT_DENOMINATOR` are returned as they are. A finer
    one (2.73, or what fits 3840x2160) becomes the simplest fraction for which neither
    side of the output differs by more than half a pixel from the size asked for.

    Args:
        scale: The scale asked for, in [1, 8].
        height: Height of the whole input image in pixels.
        width: Width of the whole input image in pixels.
    """
    exact = exact_grid(scale)
    if exact is not None:
        return exact
    half = Fraction(1, 2)
    sides = list(zip((height, width), output_size(height, width, scale)))
    low = max(Fraction(out - half) / size for size, out in sides)
    high = min(Fraction(out + half) / size for size, out in sides)
    return _simplest_between(max(low, Fraction(MIN_SCALE)), high)


def exact_grid(scale: float) -> Fraction | None:
    """Returns ``scale`` as a fraction with a denominator up to `EXACT_DENOMINATOR`.

    None if it is finer than that: its grid then depends on the size of the image.

    Example:
        >>> exact_grid(2.5), exact_grid(2.73)
        (Fraction(5, 2), None)
    """
    exact = Fraction(scale).limit_denominator(EXACT_DENOMINATOR)
    return exact if math.isclose(exact, scale, rel_tol=1e-9) else None


def _simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """Returns the fraction of smallest denominator in [low, high], low > 0.

    Descends the continued fractions of both ends for as long as they agree.
    """
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    floor = whole - 1
    return floor + 1 / _simplest_between(1 / (high - floor), 1 / (low - floor))


@dataclass(frozen=True)
class Window:
    """A rectangle of output pixels, and where the input it is made from lies."""

    top: int
    left: int
    """The position of the first input pixel at hand in the whole input image."""
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
    """Returns the p phases of a scale p/q, grouped by the q input cells they lie in.

    At a whole scale s there is one group, with coordinates -1 + (2i + 1)/s.

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
