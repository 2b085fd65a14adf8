"""Sizes people ask for, and how they are reached."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import spanpp_core
from spanpp_core import (
    FRACTIONAL,
    ScaleError,
    Size,
    SizeError,
    parse_factor,
    prepare,
)
from spanpp_core.resize import resize


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.integers(1, 9000),
    st.integers(1, 9000),
)
def test_fit_touches_the_box_and_stays_inside(height, width, box_width, box_height):
    size = Size(fit=(box_width, box_height)).of(height, width, 2)
    assert size.width <= box_width
    assert size.height <= box_height
    assert size.width == box_width or size.height == box_height


@pytest.mark.parametrize(
    ("wanted", "given", "sides"),
    [
        (Size(), (5, 3), (10, 6)),
        (Size(fit=(3840, 2160)), (1080, 1920), (2160, 3840)),
        (Size(width=175), (100, 70), (250, 175)),
        (Size(height=250), (100, 70), (250, 175)),
        (Size(width=100, height=100), (100, 70), (100, 100)),
        (Size(longer_side=250), (100, 70), (250, 175)),
        (Size(shorter_side=175), (100, 70), (250, 175)),
        (Size(megapixels=4), (1000, 1000), (2000, 2000)),
        (Size(factor=1.5), (5, 3), (8, 4)),
        (Size(factor=1.5, multiple_of=64), (500, 500), (704, 704)),
        (Size(factor=2, multiple_of=8, to_multiple="fit"), (11, 7), (24, 16)),
        (Size(width=100, height=90, multiple_of=16), (100, 70), (80, 96)),
    ],
)
def test_named_sizes(wanted: Size, given: tuple[int, int], sides: tuple[int, int]):
    assert wanted.of(*given, model_scale=2).sides == sides


def test_a_size_out_of_reach_names_the_largest(model):
    with pytest.raises(ScaleError, match="the largest possible scale is 8: 56x80"):
        prepare(model, (10, 7), Size(width=57))


@pytest.mark.parametrize(
    "size", [Size(width=20, height=20), Size(factor=3, multiple_of=8)]
)
def test_what_is_cut_is_the_middle_of_the_picture(model, size):
    image = torch.rand(1, 3, 10, 7)
    out = size.of(10, 7, model.scale)
    picture = spanpp_core.upscale(model, image, size=Size(factor=out.factor))
    top, left = (
        (a - b) // 2 for a, b in zip(picture.shape[2:], out.sides, strict=True)
    )
    middle = picture[..., top : top + out.height, left : left + out.width]
    assert torch.equal(spanpp_core.upscale(model, image, size=size), middle)


@pytest.mark.parametrize("multiple", [8, 16, 32, 64])
@pytest.mark.parametrize("way", ["crop", "fit"])
def test_both_sides_are_multiples(model, multiple, way):
    image = torch.rand(1, 3, 30, 37)
    size = Size(factor=2.5, multiple_of=multiple, to_multiple=way)
    result = spanpp_core.upscale(model, image, size=size)
    assert [side % multiple for side in result.shape[2:]] == [0, 0]
    assert abs(result.shape[2] - 75) < multiple


@pytest.mark.parametrize(
    ("text", "factor"),
    [("2", 2), ("2.5", 2.5), ("2,5", 2.5), ("x1.3333", 1.3333), ("8/3", 8 / 3)],
)
def test_factors_people_type(text, factor):
    assert parse_factor(text) == factor


@pytest.mark.parametrize("text", ["", "two", "-2", "0", "1/0", "2/", "nan", "1e9", "x"])
def test_what_is_no_factor_is_named(text):
    with pytest.raises(ScaleError, match=r"is not a factor; give .* 8/3"):
        parse_factor(text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"factor": 2, "width": 5}, "factor and width"),
        ({"fit": (0, 5)}, "fit 0"),
        ({"factor": float("nan")}, "factor nan"),
        ({"longer_side": -1}, "longer side -1"),
        ({"multiple_of": 0}, "multiples of 0"),
        ({"multiple_of": 2.5}, "multiples of 2.5 are not possible; give a whole"),
        ({"factor": "2"}, "factor '2' is not possible; give a number"),
        ({"fit": 100}, r"fit is 100; give \(width, height\)"),
        ({"fit": (100,)}, r"fit is \(100,\); give \(width, height\)"),
        ({"to_multiple": "pad"}, "to_multiple is 'pad'; give one of"),
    ],
)
def test_impossible_sizes_are_named(given, message):
    with pytest.raises(SizeError, match=message):
        Size(**given)


@pytest.mark.parametrize(
    ("factor", "native", "trained", "scale"),
    [
        (2, False, (1, 2, 3, 4), 2),
        (2.5, False, (1, 2, 3, 4), 3),
        (2.5, True, (1, 2, 3, 4), 2.5),
        (2.5, False, (2, 4), 4),
        (4.5, False, (2, 4), 5),
        (3, False, (2, 4), 3),
        (0.5, True, (1, 2), 1),
        (0.5, False, (2, 4), 2),
    ],
)
def test_scale_that_reaches_a_factor(factor, native, trained, scale):
    size = Size(factor=factor).of(100, 100, 2)
    assert size.scale(trained, native=native) == scale


def test_rounding_errors_do_not_make_a_whole_factor_fractional():
    size = Size(factor=2 + 1e-12).of(100, 100, 3)
    assert (size.factor, size.scale((1, 2, 3), native=False)) == (2, 2)
    above = Size(factor=2 + 1e-6).of(100, 100, 3)
    assert above.scale((1, 2, 3), native=False) == 3


@pytest.mark.parametrize("fractional", FRACTIONAL)
@pytest.mark.parametrize("factor", [0.5, 1, 1.5, 2.5, 2.73, 3, 7.9])
def test_result_has_the_size_asked_for(model, fractional, factor):
    image = torch.rand(2, 4, 13, 9)
    size = Size(factor=factor)
    reports = []
    result = spanpp_core.upscale(
        model,
        image,
        size=size,
        fractional=fractional,
        on_progress=lambda done, total: reports.append((done, total)),
    )
    assert result.shape == (2, 4, *size.of(13, 9, 2).sides)
    assert result.min() >= 0
    assert result.max() <= 1
    assert reports[-1][0] == reports[-1][1]


def test_downscale_method_is_the_next_whole_scale_made_smaller(model):
    image = torch.rand(1, 3, 10, 8)
    size = Size(factor=2.5)
    expected = resize(spanpp_core.upscale(model.at_scale(3), image), (25, 20))
    found = spanpp_core.upscale(model, image, size=size, fractional="downscale")
    assert torch.equal(found, expected)
    native = spanpp_core.upscale(model, image, size=size, fractional="native")
    assert torch.equal(native, spanpp_core.upscale(model.at_scale(2.5), image))


@pytest.mark.parametrize(("continuous", "scale"), [(True, 2.5), (False, 3)])
def test_auto_is_native_only_for_models_trained_on_fractions(model, continuous, scale):
    model.checkpoint = replace(model.checkpoint, continuous=continuous)
    assert prepare(model, (10, 8), Size(factor=2.5)).scale == scale
    assert prepare(model, (10, 8), Size(factor=2.0)).scale == 2
    assert prepare(model.at_scale(2.5), (10, 8)).scale == 2.5


def test_bundled_model_upscales_natively_by_default():
    bundled = spanpp_core.load(spanpp_core.bundled_model())
    run = prepare(bundled, (1080, 1440), Size(fit=(2000, 2000)))
    assert run.scale == pytest.approx(2000 / 1440)
    assert run.is_direct


@pytest.mark.parametrize("factor", [8.01, 0, -1, float("nan")])
def test_impossible_factors_are_refused(model, factor):
    image = torch.rand(1, 3, 100, 100)
    with pytest.raises(spanpp_core.SpanPPError, match=r"8|above 0"):
        spanpp_core.upscale(model, image, size=Size(factor=factor))
