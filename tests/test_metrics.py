"""PSNR on Y against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from other_gpu import GPU, OtherGPU

from spanpp_core.metrics import psnr_y, ssim_y


def test_equal_images_are_infinitely_close():
    image = torch.rand(1, 3, 8, 8)
    assert psnr_y(image, image) == math.inf


def test_grey_levels():
    """One grey level of 255 is 219/255 of a level on studio-swing Y."""
    a = torch.full((1, 3, 8, 8), 0.5)
    expected = 20 * math.log10(255 / (219 / 255))
    assert psnr_y(a + 1 / 255, a) == pytest.approx(expected, abs=1e-3)


def test_a_gpu_without_float64_gives_the_same_figures():
    a, b = torch.rand(2, 1, 3, 16, 16)
    expected = psnr_y(a, b, 1), ssim_y(a, b, 1)
    with OtherGPU():
        there = a.to(GPU), b.to(GPU)
        assert (psnr_y(*there, 1), ssim_y(*there, 1)) == expected


def test_border_is_left_out():
    a = torch.rand(1, 3, 8, 8)
    b = a.clone()
    b[..., 0, :] = 0
    b[..., :, -1] = 0
    assert psnr_y(a, b) < 40
    assert psnr_y(a, b, 1) == math.inf


def test_unequal_shapes_are_named():
    with pytest.raises(ValueError, match="equal shapes"):
        psnr_y(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9))


def test_ssim_is_one_for_equal_images_only():
    image = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    assert ssim_y(image, image) == pytest.approx(1)
    assert ssim_y(image, image * 0.9) < 0.999
    assert ssim_y(image, 1 - image) < 0


def test_ssim_of_flat_images_is_that_of_their_brightness():
    """Without structure only the luminance term is left."""
    dark, light = torch.full((1, 3, 15, 15), 0.2), torch.full((1, 3, 15, 15), 0.6)
    a, b = ((16 + 219 * value) / 255 for value in (0.2, 0.6))
    c = 0.01**2
    expected = (2 * a * b + c) / (a * a + b * b + c)
    assert ssim_y(dark, light) == pytest.approx(expected, rel=1e-6)


def test_ssim_leaves_the_border_out():
    image = torch.rand(1, 3, 30, 30, generator=torch.Generator().manual_seed(0))
    framed = image.clone()
    framed[..., :3, :] = 0
    assert ssim_y(image, framed, border=3) == pytest.approx(1)
    assert ssim_y(image, framed) < 0.99
