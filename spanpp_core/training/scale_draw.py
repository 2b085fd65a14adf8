"""The scales of training steps: which ones are drawn, and how often each comes."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..errors import TrainingError

_FEWEST_PHASES = 7
"""Numerator up to which simple fractions are drawn: p/q has p * p kernels to make."""

BETWEEN = 24
"""Scales that are drawn where any may be: on a GPU each becomes a graph of its own."""


@dataclass(frozen=True)
class ScaleDraw:
    """The scales that steps are drawn from, and how often each comes."""

    scales: tuple[Fraction, ...]
    weights: tuple[float, ...]
    """The share of steps at each of them."""
    between: float = 0.0
    """The share of steps at `scales_between`; 1 with the others. Simple fractions alone
    leave some positions of a pixel's cell untrained."""

    @staticmethod
    def whole(scales: Sequence[int], shares: Sequence[float] = ()) -> ScaleDraw:
        """Some whole scales, equally often or in proportion to ``shares``."""
        shares = shares or [1.0] * len(scales)
        total = sum(shares)
        return ScaleDraw(
            tuple(Fraction(s) for s in scales), tuple(s / total for s in shares)
        )

    @staticmethod
    def continuous(
        scales: Sequence[int],
        fractions: float = 0.5,
        shares: Sequence[float] = (),
        between: float = 0.0,
        often: Mapping[str, float] | None = None,
    ) -> ScaleDraw:
        """Whole scales, and simple fractions between them.

        Args:
            scales: Whole.
            fractions: The share of steps at simple fractions.
            shares: Of the whole scales, in proportion to each other.
            between: The share of steps at any scale between the smallest and the largest.
            often: How often some of the simple fractions come, such as {"5/2": 6};
                each other counts 1.

        Raises:
            TrainingError: One of ``often`` is none of the simple fractions.
        """
        low, high = min(scales), max(scales)
        simple = sorted(
            {
                Fraction(p, q)
                for q in range(2, 5)
                for p in range(low * q, high * q)
                if p % q and Fraction(p, q).numerator <= _FEWEST_PHASES
            }
        )
        often = often or {}
        names = [str(scale) for scale in simple]
        unknown = ", ".join(sorted(set(often) - set(names)))
        if unknown:
            known = ", ".join(names) or f"none from x{low} to x{high}"
            raise TrainingError(
                f"often names {unknown}; the simple fractions are {known}"
            )
        whole = ScaleDraw.whole(scales, shares)
        if not simple:
            return whole
        rest = 1 - fractions - between
        times = [often.get(name, 1.0) for name in names]
        return ScaleDraw(
            whole.scales + tuple(simple),
            tuple(w * rest for w in whole.weights)
            + tuple(fractions * each / sum(times) for each in times),
            between,
        )

    def draw(self, random: np.random.Generator, patch: int) -> Fraction:
        """Draws a scale; see `scales_between` for the last share."""
        between = scales_between(int(min(self.scales)), int(max(self.scales)), patch)
        if between and random.random() < self.between:
            return between[int(random.integers(len(between)))]
        weights = np.asarray(self.weights)
        return self.scales[random.choice(len(weights), p=weights / weights.sum())]


@functools.cache
def scales_between(low: int, high: int, patch: int) -> tuple[Fraction, ...]:
    """Returns `BETWEEN` scales at most, spread evenly, that share no simple position.

    A patch of P pixels becomes N pixels at N/P; with no common divisor the output pixels
    lie at N positions of their cells, both edges of a cell among them.
    """
    prime = [n for n in range(low * patch, high * patch) if math.gcd(n, patch) == 1]
    every = max(1, len(prime) // BETWEEN)
    return tuple(Fraction(n, patch) for n in prime[::every])
