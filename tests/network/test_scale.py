"""Scales as fractions: sizes, grids and phases."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spanpp_core
from spanpp_core.network.scale import (
    EXACT_PHASES,
    cell_of,
    checked_scale,
    exact_grid,
    grid_scale,
    is_exact,
    nearest_exact,
    output_size,
    phase_groups,
)

fractions = st.builds(
    lambda q, excess: Fraction(q + excess, q), st.integers(1, 40), st.integers(0, 39)
).filter(lambda s: s <= 8)


@pytest.mark.parametrize(
    ("given_scale", "expected"), [(2, 2), (2.0, 2), (Fraction(5, 2), 2.5), (8, 8)]
)
def test_checked_scale_is_int_when_whole(given_scale, expected):
    scale = checked_scale(given_scale)
    assert scale == expected
    assert type(scale) is type(expected)


@pytest.mark.parametrize(
    "wrong", [0, 0.99, 8.01, -2, math.nan, math.inf, True, "2", None, 1j]
)
def test_wrong_scale_is_one_clear_line(wrong):
    with pytest.raises(spanpp_core.ScaleError) as caught:
        checked_scale(wrong, (2, 4))
    message = str(caught.value)
    assert repr(wrong) in message
    assert "from 1 to 8" in message
    assert "x2, x4" in message
    assert "\n" not in message


@given(fractions)
def test_phases_cover_the_period_once_and_lie_in_their_cell(scale: Fraction):
    groups = phase_groups(scale)
    assert [i for g in groups for i in g.phases] == list(range(scale.numerator))
    for group in groups:
        for i, at in zip(group.phases, group.coordinates):
            centre = (i + Fraction(1, 2)) / scale
            assert cell_of(i, scale) == group.cell == math.floor(centre)
            assert at == pytest.approx(2 * float(centre - group.cell) - 1)


@pytest.mark.parametrize("scale", range(1, 9))
def test_whole_scales_have_the_published_coordinates(scale: int):
    (group,) = phase_groups(Fraction(scale))
    expected = [-1 + (2 * i + 1) / scale for i in range(scale)]
    assert group.coordinates == pytest.approx(expected)


@given(fractions)
def test_the_grid_of_a_fraction_is_that_fraction(scale: Fraction):
    assert grid_scale(float(scale)) == scale
    expected = scale if scale.numerator <= EXACT_PHASES else None
    assert exact_grid(float(scale)) == expected


@given(st.floats(1, 8), st.integers(1, 5000), st.integers(1, 5000))
def test_last_pixel_lies_in_the_image_or_on_its_very_edge(scale, height, width):
    for side, out in zip((height, width), output_size(height, width, scale)):
        assert cell_of(out - 1, grid_scale(scale)) <= side


@given(st.floats(1, 8), fractions)
def test_no_exact_scale_is_nearer_than_the_nearest(scale: float, other: Fraction):
    nearest = nearest_exact(scale)
    assert is_exact(nearest)
    if is_exact(other):
        assert abs(nearest - Fraction(scale)) <= abs(other - Fraction(scale))


def test_named_examples():
    assert grid_scale(3.7) == Fraction(37, 10)
    assert grid_scale(4 / 3) == Fraction(4, 3)
    assert exact_grid(2.73) is None
    assert output_size(1080, 1920, 2) == (2160, 3840)
    assert output_size(5, 3, 1.5) == (8, 4)  # 7.5 and 4.5: half to even
