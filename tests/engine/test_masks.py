"""Masks: sharp edges, and exactly 0 and 1 where nothing else was."""

from __future__ import annotations

import pytest
import torch

import spanpp_core
from spanpp_core.engine.masks import upscale_masks


@pytest.fixture(scope="module")
def bundled():
    return spanpp_core.load(spanpp_core.bundled_model())


def upscaled(model, masks, size=None):
    run = spanpp_core.prepare(model, (24, 30), size)
    return upscale_masks(run, masks, out=torch.empty(len(masks), 1, *run.output_size))


def box() -> torch.Tensor:
    mask = torch.zeros(2, 1, 24, 30)
    mask[:, :, 8:16, 10:20] = 1
    return mask


@pytest.mark.parametrize("scale", [1.5, 2, 4])
def test_a_mask_keeps_its_bounding_box_and_its_inside(bundled, scale):
    view = bundled.at_scale(scale)
    made = upscaled(view, box())
    rows, cols = (made[0, 0] > 0).any(1).nonzero(), (made[0, 0] > 0).any(0).nonzero()
    for found, begin, end in ((rows, 8, 16), (cols, 10, 20)):
        assert begin * scale - scale <= found.min()
        assert found.max() < end * scale + scale
    rows, cols = (
        slice(int((a + 1) * scale), int((b - 1) * scale))
        for a, b in ((8, 16), (10, 20))
    )
    assert (made[0, 0, rows, cols] == 1).all()
    edge = (made > 0) & (made < 1)
    assert torch.equal(made[edge], spanpp_core.upscale(view, box())[edge])


def test_a_mask_is_cut_as_the_image_is(bundled):
    size = spanpp_core.Size(width=60, height=40)
    made = upscaled(bundled, box(), size)
    assert made.shape == (2, 1, 40, 60)
    assert torch.equal(made, upscaled(bundled, box())[:, :, 4:44])


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_equal_values_stay_equal_at_any_size(bundled, value):
    made = upscaled(bundled, torch.full((1, 1, 64, 64), value))
    assert torch.equal(made, torch.full((1, 1, 48, 60), value))


def test_a_mask_of_another_size_is_fitted_and_values_are_clipped(bundled):
    masks = box()
    larger = masks.repeat_interleave(2, 2).repeat_interleave(2, 3)
    made = upscaled(bundled, larger * 3 - 1)
    assert made.shape == (2, 1, 48, 60)
    assert (made.amin(), made.amax()) == (0, 1)
    assert (made - upscaled(bundled, masks)).abs().mean() < 0.01
    assert larger.max() == 1, "the caller's masks are untouched"
    assert torch.equal(upscaled(bundled, masks > 0), upscaled(bundled, masks))
