"""The scales of training steps."""

from __future__ import annotations

from fractions import Fraction

import pytest

from spanpp_core.errors import TrainingError
from spanpp_core.training.scale_draw import ScaleDraw

WHOLE = ScaleDraw.whole((1, 2, 3, 4))
CONTINUOUS = ScaleDraw.continuous((1, 2, 3, 4))


def test_continuous_draws_fractions_inside_the_trained_range():
    assert sum(CONTINUOUS.weights) == pytest.approx(1)
    assert set(WHOLE.scales) < set(CONTINUOUS.scales)
    assert {Fraction(3, 2), Fraction(5, 2), Fraction(7, 2)} < set(CONTINUOUS.scales)
    assert all(1 <= scale <= 4 for scale in CONTINUOUS.scales)
    assert ScaleDraw.continuous((2,)) == ScaleDraw.whole((2,))


def test_fractions_come_as_often_as_asked():
    draw = ScaleDraw.continuous((1, 2, 3, 4), 0.25)
    fractional = [w for s, w in zip(draw.scales, draw.weights) if s.denominator > 1]
    assert sum(fractional) == pytest.approx(0.25)


def test_some_fractions_come_more_often():
    draw = ScaleDraw.continuous((1, 2, 3, 4), 0.5, often={"5/2": 6})
    share = dict(zip(draw.scales, draw.weights))
    assert share[Fraction(5, 2)] == pytest.approx(6 * share[Fraction(5, 3)])
    fractional = [w for s, w in share.items() if s.denominator > 1]
    assert sum(fractional) == pytest.approx(0.5)


def test_a_fraction_that_never_comes_is_refused():
    with pytest.raises(
        TrainingError, match="often names 9/4; the simple fractions are 5/4"
    ):
        ScaleDraw.continuous((1, 2, 3, 4), often={"9/4": 2})
