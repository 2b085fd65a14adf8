"""Alpha that is 0 or 1 all around stays exactly that."""

from __future__ import annotations

import pytest
import torch

import spanpp_core


@pytest.mark.parametrize("factor", [0.5, 1, 1.7, 2, 2.5, 4])
def test_transparent_and_opaque_areas_stay_that(factor):
    bundled = spanpp_core.load(spanpp_core.bundled_model())
    image = torch.rand(1, 4, 40, 50)
    image[:, 3] = 0
    image[:, 3, 12:28, 15:35] = 1
    made = spanpp_core.upscale(bundled, image, size=spanpp_core.Size(factor=factor))
    alpha, reach = made[0, 3], 2 * max(factor, 1)
    rows, cols = (alpha > 0).any(1).nonzero(), (alpha > 0).any(0).nonzero()
    for found, begin, end in ((rows, 12, 28), (cols, 15, 35)):
        assert begin * factor - reach <= found.min()
        assert found.max() < end * factor + reach
    inside = alpha[
        round(16 * factor) : round(24 * factor), round(20 * factor) : round(30 * factor)
    ]
    assert (inside == 1).all()
