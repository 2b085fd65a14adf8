"""What a training step sees."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from spanpp_core.resize import resize
from spanpp_core.training.degradation import DEGRADATIONS, PHOTO
from spanpp_core.training.patches import Patches, ScaleDraw, pair, smallest_side
from spanpp_core.training.photos import Photos

CLEAN = DEGRADATIONS["none"]
WHOLE = ScaleDraw.whole((1, 2, 3, 4))
CONTINUOUS = ScaleDraw.continuous((1, 2, 3, 4))


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return values.astype(np.uint8)


@pytest.fixture
def photos(tmp_path):
    smallest = smallest_side(12, CONTINUOUS)
    made = [photo(smallest, smallest + 40), photo(2 * smallest, 3 * smallest, 1)]
    return Photos.pack(made, tmp_path / "photos.bin", smallest, "key")


def test_packed_photos_are_the_photos_at_several_sizes(tmp_path, photos):
    smallest = smallest_side(12, CONTINUOUS)
    reopened = Photos.open(tmp_path / "photos.bin", "key")
    assert reopened is not None
    assert [len(sizes) for sizes in reopened.places] == [1, 2]
    assert np.array_equal(reopened.at(0, 0), photo(smallest, smallest + 40))
    full = torch.from_numpy(photo(2 * smallest, 3 * smallest, 1)).movedim(-1, 0)[None]
    half = resize(full.float() / 255, (smallest, 3 * smallest // 2))
    found = torch.from_numpy(reopened.at(1, 1).copy()).movedim(-1, 0)[None]
    assert (found - 255 * half).abs().max() <= 0.5 + 1e-3


def test_photos_packed_for_something_else_are_not_opened(tmp_path, photos):
    assert Photos.open(tmp_path / "photos.bin", "another key") is None


def test_photos_that_are_too_small_are_left_out(tmp_path):
    packed = Photos.pack([photo(9, 90)], tmp_path / "photos.bin", 10, "key")
    assert len(packed) == 0


@pytest.mark.parametrize("scale", CONTINUOUS.scales, ids=str)
def test_a_pair_is_a_part_of_the_whole_photo_scaled_down(scale):
    """No patch shows that the photo was cut before it was resized."""
    side = smallest_side(12, ScaleDraw((scale,), (1.0,)))
    margin = scale.numerator * 4
    whole = torch.from_numpy(photo(side + 2 * margin, side + 2 * margin))
    whole = whole.movedim(-1, 0)[None] / 255
    crop = whole[..., margin : margin + side, margin : margin + side]
    low, high = pair(crop, 12, scale, CLEAN, np.random.default_rng(0))
    around = (whole.shape[-1] - high.shape[-1]) // 2
    assert torch.equal(high, whole[..., around:-around, around:-around])
    edge = whole.shape[-1] * scale.denominator // scale.numerator
    small = resize(whole, (edge, edge)).mul(255).round() / 255
    around = (edge - low.shape[-1]) // 2
    assert (low - small[..., around:-around, around:-around]).abs().max() <= 1.01 / 255
    assert high.shape[-1] == low.shape[-1] * scale


def test_a_step_is_the_same_at_every_call_and_like_no_other(photos):
    patches = Patches(photos, CONTINUOUS, 12, 2, seed=3)
    first, again = patches[5], Patches(photos, CONTINUOUS, 12, 2, seed=3)[5]
    assert torch.equal(first.low, again.low)
    assert torch.equal(first.high, again.high)
    assert first.scale == again.scale
    others = [
        Patches(photos, WHOLE, 12, 2, seed=4)[5],
        Patches(photos, CONTINUOUS, 12, 2, seed=3, rank=1)[5],
        patches[6],
    ]
    assert all(
        other.low.shape != first.low.shape or not torch.equal(other.low, first.low)
        for other in others
    )


def test_all_processes_see_one_scale_a_step(photos):
    ranks = [Patches(photos, CONTINUOUS, 12, 1, seed=0, rank=rank) for rank in range(3)]
    for step in range(20):
        assert len({patches[step].scale for patches in ranks}) == 1


@pytest.mark.parametrize("draw", [WHOLE, CONTINUOUS], ids=["whole", "continuous"])
def test_scales_come_as_often_as_they_should(photos, draw):
    patches = Patches(photos, draw, 12, 1, seed=0)
    drawn = [patches.scale(step) for step in range(4000)]
    for scale, weight in zip(draw.scales, draw.weights):
        assert drawn.count(scale) / 4000 == pytest.approx(weight, abs=0.03)


def test_continuous_draws_fractions_inside_the_trained_range():
    assert sum(CONTINUOUS.weights) == pytest.approx(1)
    assert set(WHOLE.scales) < set(CONTINUOUS.scales)
    assert {Fraction(3, 2), Fraction(5, 2), Fraction(7, 2)} < set(CONTINUOUS.scales)
    assert all(1 <= scale <= 4 for scale in CONTINUOUS.scales)
    assert ScaleDraw.continuous((2,)) == ScaleDraw.whole((2,))


def test_fractions_come_as_often_as_asked():
    draw = ScaleDraw.continuous((1, 2, 3, 4), 0.25)
    fractional = [w for s, w in zip(*draw) if s.denominator > 1]
    assert sum(fractional) == pytest.approx(0.25)


def test_of_several_places_the_most_detailed_is_taken(tmp_path):
    smallest = smallest_side(12, WHOLE)
    flat = np.full((smallest, smallest, 3), 128, np.uint8)
    made = [flat, flat, flat, photo(smallest, smallest)]
    packed = Photos.pack(made, tmp_path / "photos.bin", smallest, "key")

    def flat_ones(choices: int) -> int:
        patches = Patches(packed, WHOLE, 12, 40, seed=0, choices=choices)
        return sum(bool(high.max() == high.min()) for high in patches[0].high)

    assert flat_ones(4) < 0.6 * flat_ones(1)


def test_degraded_pairs_are_a_function_of_the_step_and_keep_the_original(photos):
    degraded = Patches(photos, CONTINUOUS, 12, 8, 3, degradation=PHOTO)
    clean = Patches(photos, CONTINUOUS, 12, 8, 3)
    first, again = degraded[5], degraded[5]
    assert torch.equal(first.low, again.low)
    assert first.low.shape == clean[5].low.shape
    assert not torch.equal(first.low, clean[5].low)
