"""What low resolution suffers."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

import spanpp_core
from spanpp_core import images
from spanpp_core.resize import resize
from spanpp_core.training.degradation import (
    DEGRADATIONS,
    Degradation,
    gaussian_blur,
    jpeg,
)

PHOTO = images.read(spanpp_core.bundled_photo()).pixels[..., 200:296, 300:396]
PIXELS = PHOTO[0].mul(255).round().byte().movedim(0, -1).numpy()


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def error(made: np.ndarray) -> float:
    return float(np.square(made.astype(float) - PIXELS).mean())


def test_none_is_the_antialiased_bicubic_downscale_alone():
    clean = DEGRADATIONS["none"]
    small = clean.smaller(PHOTO, Fraction(2), range(48), 0, random())
    assert torch.allclose(small.clamp(0, 1), resize(PHOTO, (48, 48)), atol=1e-5)
    assert np.array_equal(clean.stored(PIXELS, random()), PIXELS)


def test_jpeg_loses_more_at_lower_quality_and_more_colour_when_it_is_halved():
    errors = [error(jpeg(PIXELS, quality, True)) for quality in (95, 75, 30)]
    assert errors == sorted(errors)
    assert error(jpeg(PIXELS, 90, False)) < error(jpeg(PIXELS, 90, True))


def test_jpeg_blocks_lie_anywhere_in_a_patch():
    """Of a flat image with one bright pixel, the pixels of its block change."""
    image = np.full((48, 48, 3), 128, np.uint8)
    image[24, 24] = 255
    always = Degradation(jpeg=1, quality=(30, 30), chroma_halved=0)
    first_rows = set()
    for seed in range(40):
        rows, _, _ = np.nonzero(always.stored(image, random(seed)) != image)
        first_rows.add(int(rows.min()))
    assert len(first_rows) == 8


def test_noise_has_the_strength_that_was_drawn():
    grey = np.full((64, 64, 3), 128, np.uint8)
    noisy = Degradation(noise=1, noise_sigma=(5, 5)).stored(grey, random())
    assert np.std(noisy.astype(float) - 128) == pytest.approx(5, rel=0.05)


def test_blur_keeps_the_mean_and_spreads_a_point_by_its_sigma():
    point = torch.zeros(1, 3, 41, 41)
    point[..., 20, 20] = 1
    blurred = gaussian_blur(point, 2.0)
    assert blurred.sum() == pytest.approx(3, rel=1e-5)
    at = torch.arange(41) - 20.0
    variance = (blurred[0, 0].sum(0) * at.square()).sum()
    assert variance == pytest.approx(4, rel=0.03)


def test_a_flat_colour_survives_every_way_to_make_it_smaller():
    flat = torch.full((1, 3, 24, 24), 0.3)
    for kernel in ("bicubic", "bilinear", "area"):
        way = Degradation(blur=1, kernels={kernel: 1.0})
        made = way.smaller(flat, Fraction(3), range(8), 0, random())
        assert torch.allclose(made, flat[..., :8, :8])


def test_photos_suffer_each_thing_as_often_as_they_should():
    calm = Degradation()
    photo = DEGRADATIONS["photo"]
    for name, share in (("jpeg", 0.85), ("noise", 0.15)):
        alone = replace(calm, **{name: getattr(photo, name)})
        hit = [
            not np.array_equal(alone.stored(PIXELS, random(seed)), PIXELS)
            for seed in range(300)
        ]
        assert np.mean(hit) == pytest.approx(share, abs=0.07)
