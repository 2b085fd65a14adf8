"""What a training step sees."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from spanpp_core.resize import resize
from spanpp_core.training.degradation import DEGRADATIONS, PHOTO
from spanpp_core.training.patches import (
    MARGIN,
    Patches,
    low_resolution,
    smallest_side,
)
from spanpp_core.training.photos import Photos
from spanpp_core.training.scale_draw import ScaleDraw

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
    assert [len(sizes) for sizes in reopened.sizes] == [1, 2]
    assert np.array_equal(reopened.at(0, 0).numpy(), photo(smallest, smallest + 40))
    full = torch.from_numpy(photo(2 * smallest, 3 * smallest, 1)).movedim(-1, 0)[None]
    half = resize(full.float() / 255, (smallest, 3 * smallest // 2))
    found = reopened.at(1, 1).movedim(-1, 0)[None]
    assert (found - 255 * half).abs().max() <= 0.5 + 1e-3


def test_photos_packed_for_something_else_are_not_opened(tmp_path, photos):
    assert Photos.open(tmp_path / "photos.bin", "another key") is None


def test_photos_that_are_too_small_are_left_out(tmp_path):
    packed = Photos.pack([photo(9, 90)], tmp_path / "photos.bin", 10, "key")
    assert len(packed) == 0


@pytest.mark.parametrize("scale", CONTINUOUS.scales, ids=str)
def test_a_pair_is_a_part_of_the_whole_photo_scaled_down(scale):
    """No patch shows that the photo was cut before it was resized."""
    cells = 12 // scale.denominator * scale.denominator
    around, inside = 5 * scale.numerator, int(cells * scale)
    whole = photo(*[inside + 2 * around] * 2)
    edge = math.ceil(MARGIN * scale)
    cut = slice(around - edge, around + inside + edge)
    crop = torch.from_numpy(whole[cut, cut]).movedim(-1, 0)[None]
    low = low_resolution(crop, cells, scale, CLEAN, np.random.default_rng(0))
    side = int(len(whole) / scale)
    small = torch.from_numpy(whole).movedim(-1, 0)[None] / 255
    small = resize(small, (side, side)).mul(255).round()
    first = 5 * scale.denominator
    small = small[..., first : first + cells, first : first + cells]
    assert (low - small).abs().max() <= 1
    assert (low != small).float().mean() < 0.01


def test_a_batch_is_parts_of_the_photos_and_what_they_become(photos):
    """Each high-resolution patch lies in a photo, in one of eight ways."""
    draw = ScaleDraw((Fraction(3, 2),), (1.0,))
    batch = Patches(photos, draw, 12, 6, seed=1)[0]
    assert batch.low.shape[-1] * 3 // 2 == batch.high.shape[-1]
    every = [photos.at(p, at) for p in range(2) for at in range(len(photos.sizes[p]))]
    ways = set()
    for patch in batch.high:
        for way in range(8):
            turned = patch.rot90(way % 4, (1, 2))
            turned = (turned.flip(-1) if way > 3 else turned).movedim(0, -1)
            if any(_lies_in(turned, pixels) for pixels in every):
                ways.add(way)
                break
        else:
            pytest.fail("a patch of no photo")
    assert len(ways) > 1


def _lies_in(patch: torch.Tensor, photo: torch.Tensor) -> bool:
    side = len(patch)
    places = (photo[: 1 - side, : 1 - side] == patch[0, 0]).all(-1).nonzero().tolist()
    return any(torch.equal(photo[y : y + side, x : x + side], patch) for y, x in places)


def test_scales_between_the_others_come_as_often_as_asked(photos):
    draw = ScaleDraw.continuous((1, 2, 3, 4), 0.1, (1, 3, 3, 3), between=0.3)
    patches = Patches(photos, draw, 12, 1, seed=0)
    drawn = [patches.scale(step) for step in range(4000)]
    assert drawn.count(Fraction(2)) / 4000 == pytest.approx(0.6 * 0.3, abs=0.03)
    assert drawn.count(Fraction(1)) / 4000 == pytest.approx(0.6 * 0.1, abs=0.03)
    assert sum(s.denominator == 12 for s in drawn) / 4000 == pytest.approx(
        0.3, abs=0.03
    )
    assert all(1 <= scale <= 4 for scale in drawn)
    batch = patches[next(i for i, s in enumerate(drawn) if s.denominator == 12)]
    assert batch.high.shape[-1] == round(12 * batch.scale)


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


def test_some_pairs_are_of_one_colour(photos):
    draw = ScaleDraw((Fraction(3, 2),), (1.0,))
    low, high, _ = Patches(photos, draw, 12, 200, seed=0, flat=0.2)[0]
    flat = [bool((each == each[:, :1, :1]).all()) for each in high]
    assert np.mean(flat) == pytest.approx(0.2, abs=0.08)
    for is_flat, small, large in zip(flat, low, high):
        assert not is_flat or torch.equal(small[:, 0, 0], large[:, 0, 0])
