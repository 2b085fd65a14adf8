"""What a training run's losses, gradient norms and scores say about its stability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, median

WINDOW = 10
"""Losses before a step that it is compared with."""

SPIKE = 2.0
"""How many times their median a loss is to count as a spike."""


def diverged(losses: Sequence[float], norms: Sequence[float]) -> bool:
    """Whether a run came to nothing.

    Either a loss or a gradient is not finite, or the mean loss over the last tenth of
    the steps is above the loss that the run began with.

    Args:
        losses: Of each step.
        norms: Of the gradient at each step.
    """
    if not all(map(math.isfinite, [*losses, *norms])):
        return True
    last = max(1, len(losses) // 10)
    return mean(losses[-last:]) > losses[0]


def spikes(losses: Sequence[float]) -> int:
    """Counts losses above `SPIKE` times the median of the `WINDOW` before them."""
    return sum(
        losses[i] > SPIKE * median(losses[i - WINDOW : i])
        for i in range(WINDOW, len(losses))
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least this share of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def passed(scores: Mapping[int, float], bar: float) -> int | None:
    """Returns the first step from which on every score is above a bar, if any."""
    below = [step for step, score in scores.items() if not score > bar]
    after = [step for step in scores if step > max(below, default=0)]
    return min(after, default=None)
