"""Values outside [0, 1] come out as they went in, larger; all others as before."""

from __future__ import annotations

import pytest
import torch

import spanpp_core
from spanpp_core.engine.dynamic_range import RangeCurve, nearness, values_outside
from spanpp_core.network.model import SpanPP
from spanpp_core.resize import bicubic


@pytest.fixture(scope="module")
def bundled() -> spanpp_core.SpanPPDescriptor:
    return spanpp_core.load(spanpp_core.bundled_model())


def photo(height: int = 64, width: int = 64) -> torch.Tensor:
    """A smooth picture in [0.1, 0.9], (1, 3, height, width)."""
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(1, 3, 8, 8, generator=generator) * 0.8 + 0.1
    size = (height, width)
    return torch.nn.functional.interpolate(small, size, mode="bilinear")


@pytest.mark.parametrize("curve", [RangeCurve(0, 8), RangeCurve(-4, 65536)])
def test_the_inverse_of_the_curve_is_exact_and_the_curve_rises(curve):
    x = torch.linspace(curve.low, curve.high, 10_001, dtype=torch.float64)
    y = curve.compress(x)
    assert float(y[0]) == 0
    assert float(y[-1]) == 1
    assert bool((y.diff() > 0).all())
    back = curve.expand(y).double()
    assert float(((back - x).abs() / x.abs().clamp_min(1)).max()) < 1e-5


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([0.0, 0.5, 1.0], None),
        ([-0.001, 1.001], None),
        ([0.0, 8.0], (0.0, 8.0)),
        ([-0.25, 0.5], (-0.25, 0.5)),
        ([float("nan"), 2.0], (0.0, 2.0)),
        ([0.0, float("inf")], (0.0, 65504.0)),
    ],
)
def test_which_values_are_outside(values, ends):
    assert values_outside(torch.tensor(values)) == ends


def highlights() -> torch.Tensor:
    """A picture with sharp edges from 0.1 to 30, (1, 3, 96, 96)."""
    image = photo(96, 96)
    generator = torch.Generator().manual_seed(2)
    for top, left, side in torch.randint(8, 80, (12, 3), generator=generator):
        size = int(side) // 8 + 1
        image[..., top : top + size, left : left + size] *= 30 / size
    return image


@pytest.mark.parametrize("width", [96, 512])
@pytest.mark.parametrize("fractional", ["native", "downscale"])
@pytest.mark.parametrize("factor", [1.5, 2, 3])
def test_a_ramp_to_8_stays_a_ramp_to_8(bundled, factor, fractional, width):
    ramp = torch.linspace(0, 8, width).expand(1, 3, 16, width)
    size = spanpp_core.Size(factor=factor)
    made = spanpp_core.upscale(bundled, ramp, size=size, fractional=fractional)
    columns = (torch.arange(made.shape[-1]) + 0.5) / factor - 0.5
    expected = columns * 8 / (width - 1)
    rows = slice(int(2 * factor), -int(2 * factor))  # as the network invents an edge
    error = (made - expected)[..., rows, :].abs().amax((0, 1, 2))
    inner = (columns > 4) & (columns < width - 5)
    above, below = inner & (expected > 1), inner & (expected <= 1)
    assert float((error / expected)[above].max()) < 0.01
    assert float(error[below].max()) < 3 / 255
    assert float(made.max()) > 7.9
    clipped = spanpp_core.upscale(
        bundled, ramp.clamp(0, 1), size=size, fractional=fractional
    )
    far = columns < (width - 1) / 8 - 4
    assert torch.equal(made[..., far], clipped[..., far])


@pytest.mark.parametrize("factor", [1.5, 2, 3])
def test_highlights_reduced_again_are_what_they_were(bundled, factor):
    image = highlights()
    size = spanpp_core.Size(factor=factor)
    made = spanpp_core.upscale(bundled, image, size=size)
    above = image > 1
    error = ((bicubic(made, (96, 96)) - image).abs() / image)[above]
    assert int(above.sum()) > 500
    assert float(error.mean()) < 0.01


def test_only_what_is_within_4_pixels_of_a_highlight_differs_from_the_clipped_result(
    bundled,
):
    image = highlights()
    made = spanpp_core.upscale(bundled, image)
    clipped = spanpp_core.upscale(bundled, image.clamp(0, 1))
    near = torch.nn.functional.max_pool2d((image > 1).float(), 9, 1, 4).amax(1) > 0
    near = near.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None].expand_as(made)
    assert int((~near).sum()) > 1000
    assert torch.equal(made[~near], clipped[~near])
    assert not torch.equal(made[near], clipped[near])


def test_a_result_that_is_cut_is_the_middle_of_the_whole_one(bundled):
    image = highlights()[..., :90, :]
    whole = spanpp_core.upscale(bundled, image)
    size = spanpp_core.Size(factor=2, multiple_of=32)
    made = spanpp_core.upscale(bundled, image, size=size)
    assert made.shape == (1, 3, 160, 192)
    assert torch.equal(made, whole[..., 10:170, :])


def test_images_in_range_are_the_networks_clipped_result_to_the_bit(model):
    image = photo()
    with torch.no_grad():
        expected = model.model(image).clamp(0, 1)
    assert torch.equal(spanpp_core.upscale(model, image, tile=64), expected)


def test_what_is_far_from_a_highlight_does_not_change_at_all(bundled):
    image = photo(96, 96)
    lit = image.clone()
    lit[..., 40:44, 40:44] = 30.0
    before, after = (spanpp_core.upscale(bundled, each) for each in (image, lit))
    changed = (before != after).any(1)[0].nonzero()
    # the reach of the network, in output pixels
    assert int(changed.min()) >= 2 * (40 - bundled.model.halo)
    assert int(changed.max()) < 2 * (44 + bundled.model.halo)
    assert float(after.max()) > 25


def test_a_highlight_far_from_others_is_the_same_in_any_batch(model):
    frames = torch.cat([photo(), photo().mul(3), photo().sub(0.3)])
    together = spanpp_core.upscale(model, frames)
    for frame, result in zip(frames, together):
        alone = spanpp_core.upscale(model, frame[None])
        torch.testing.assert_close(result[None], alone, rtol=1e-5, atol=1e-6)


def test_negative_values_are_kept(bundled):
    made = spanpp_core.upscale(bundled, torch.full((1, 3, 48, 48), -0.4))
    assert float((made + 0.4).abs().max()) < 0.02


def test_grey_and_alpha_of_wide_range_images(bundled):
    image = torch.cat([photo()[:, :1] * 5, torch.full((1, 1, 64, 64), 0.5)], dim=1)
    made = spanpp_core.upscale(bundled, image)
    assert made.shape == (1, 2, 128, 128)
    assert float(made[:, 0].max()) > 3
    assert torch.equal(made[:, 1], torch.full((1, 128, 128), 0.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_nan_and_infinity_do_not_spread(bundled, dtype):
    image = photo()
    image[..., 30, 30], image[..., 34, 34] = float("nan"), float("inf")
    image[..., 50:53, 50:53] = float("-inf")
    made = spanpp_core.upscale(bundled, image.to(dtype))
    assert bool(made.isfinite().all())


@pytest.mark.parametrize("channels", [3, 4])
def test_nan_alone_does_not_spread_and_the_rest_is_the_same(bundled, channels):
    image = torch.cat([photo(), photo()[:, :1]], dim=1)[:, :channels]
    image[..., 30, 30] = 0
    expected = spanpp_core.upscale(bundled, image)
    image[..., 30, 30] = float("nan")
    assert torch.equal(spanpp_core.upscale(bundled, image), expected)


def test_a_model_is_cast_once_for_all_images_of_a_run(model, monkeypatch):
    made: list[torch.dtype] = []
    cast = SpanPP.with_dtype

    def noted(network: SpanPP, dtype: torch.dtype) -> SpanPP:
        made.append(dtype)
        return cast(network, dtype)

    monkeypatch.setattr(SpanPP, "with_dtype", noted)
    for loaded, runs_in in (("float32", "bfloat16"), ("bfloat16", "bfloat16")):
        model.to(dtype=getattr(torch, loaded))
        run = spanpp_core.prepare(model, (64, 64), dtype=getattr(torch, runs_in))
        run.run(torch.cat([photo() * 4] * 3))
    assert made == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("largest", [1, 4])
def test_results_hold_no_graph_of_an_image_that_is_being_trained(model, largest):
    """It would keep every step of the back-projection in memory."""
    image = (photo() * largest).requires_grad_()
    assert not spanpp_core.upscale(model, image).requires_grad


def test_nearness_falls_from_one_to_nothing():
    image = torch.full((1, 3, 1, 64), 0.5)
    image[..., 32] = 2.0
    near = nearness(image)[0, 0, 0]
    assert near[31:34].eq(1).all()
    assert near[:29].eq(0).all()
    assert near[36:].eq(0).all()
    assert bool((near[28:32].diff() >= 0).all())


def test_progress_runs_once_from_start_to_end(model):
    seen: list[float] = []
    image = torch.cat([photo() * 4, photo()])
    spanpp_core.upscale(
        model, image, tile=32, on_progress=lambda done, total: seen.append(done / total)
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1
