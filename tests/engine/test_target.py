"""Sizes people ask for, and how they are reached."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import spanpp_core
from spanpp_core import Target
from spanpp_core.engine.target import METHODS, resize


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.integers(1, 9000),
    st.integers(1, 9000),
)
def test_fit_touches_the_box_and_stays_inside(height, width, box_width, box_height):
    target = Target.fit(height, width, box_width, box_height)
    assert target.width <= box_width
    assert target.height <= box_height
    assert target.width == box_width or target.height == box_height


@pytest.mark.parametrize(
    ("target", "size"),
    [
        (Target.fit(1080, 1920, 3840, 2160), (2160, 3840)),
        (Target.by_width(100, 70, 175), (250, 175)),
        (Target.by_height(100, 70, 250), (250, 175)),
        (Target.by_longer_side(100, 70, 250), (250, 175)),
        (Target.by_megapixels(1000, 1000, 4), (2000, 2000)),
        (Target.by_factor(5, 3, 1.5), (8, 4)),
    ],
)
def test_named_sizes(target: Target, size: tuple[int, int]):
    assert (target.height, target.width) == size


@pytest.mark.parametrize(
    ("factor", "method", "trained", "scale"),
    [
        (2, "downscale", (1, 2, 3, 4), 2),
        (2.5, "downscale", (1, 2, 3, 4), 3),
        (2.5, "native", (1, 2, 3, 4), 2.5),
        (2.5, "downscale", (2, 4), 4),
        (4.5, "downscale", (2, 4), 5),
        (3, "downscale", (2, 4), 3),
        (0.5, "native", (1, 2), 1),
        (0.5, "downscale", (2, 4), 2),
    ],
)
def test_scale_that_reaches_a_factor(factor, method, trained, scale):
    assert Target.by_factor(100, 100, factor).scale(trained, method) == scale


def test_rounding_errors_do_not_make_a_whole_factor_fractional():
    target = Target.by_factor(100, 100, 2 + 1e-12)
    assert (target.factor, target.scale((1, 2, 3), "downscale")) == (2, 2)
    assert Target.by_factor(100, 100, 2 + 1e-6).scale((1, 2, 3), "downscale") == 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [0.5, 1, 1.5, 2.5, 2.73, 3, 7.9])
def test_result_has_the_size_asked_for(model, method, factor):
    image = torch.rand(2, 4, 13, 9)
    target = Target.by_factor(13, 9, factor)
    reports = []
    result = spanpp_core.upscale_to(
        model,
        image,
        target,
        method=method,
        on_progress=lambda done, total: reports.append((done, total)),
    )
    assert result.shape == (2, 4, target.height, target.width)
    assert result.min() >= 0
    assert result.max() <= 1
    assert reports[-1][0] == reports[-1][1]


def test_downscale_method_is_the_next_whole_scale_made_smaller(model):
    image = torch.rand(1, 3, 10, 8)
    target = Target.by_factor(10, 8, 2.5)
    expected = resize(spanpp_core.upscale(model.at_scale(3), image), (25, 20))
    assert torch.equal(spanpp_core.upscale_to(model, image, target), expected)
    native = spanpp_core.upscale_to(model, image, target, method="native")
    assert torch.equal(native, spanpp_core.upscale(model.at_scale(2.5), image))


@pytest.mark.parametrize("factor", [8.01, 0, -1, float("nan")])
def test_impossible_factors_are_refused(model, factor):
    image = torch.rand(1, 3, 100, 100)
    with pytest.raises(spanpp_core.ScaleError, match=r"8|above 0"):
        spanpp_core.upscale_to(model, image, Target.by_factor(100, 100, factor))
