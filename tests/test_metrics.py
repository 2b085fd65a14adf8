"""PSNR on Y against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from spanpp_core.metrics import psnr_y


def test_equal_images_are_infinitely_close():
    image = torch.rand(1, 3, 8, 8)
    assert psnr_y(image, image) == math.inf


def test_grey_levels():
    """One grey level of 255 is 219/255 of a level on studio-swing Y."""
    a = torch.full((1, 3, 8, 8), 0.5)
    expected = 20 * math.log10(255 / (219 / 255))
    assert psnr_y(a + 1 / 255, a) == pytest.approx(expected, abs=1e-3)


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
