"""Plans: every output pixel once, from everything it depends on."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spanpp_core.engine.tile_plan import Plan
from spanpp_core.network.scale import cell_of

scales = st.one_of(
    st.sampled_from([1, 2, 3, 4, 8, 1.5, 2.5, 3.7, 4 / 3]), st.floats(1, 8)
)
sides = st.integers(1, 300)


@settings(deadline=None)
@given(sides, sides, scales, st.integers(1, 400), st.integers(0, 25))
def test_tiles_cover_every_pixel_once_with_their_halo(height, width, scale, size, halo):
    plan = Plan.of(height, width, scale, halo)
    covered = np.zeros((plan.out_height, plan.out_width), int)
    for tile in plan.tiles(max(size, 20)):
        covered[tile.out_rows, tile.out_cols] += 1
        for read, out, limit, first, wanted in (
            (tile.in_rows, tile.out_rows, height, tile.window.top, tile.window.rows),
            (tile.in_cols, tile.out_cols, width, tile.window.left, tile.window.cols),
        ):
            assert len(wanted) == out.stop - out.start
            low = min(cell_of(out.start, plan.scale), limit - 1)
            high = min(cell_of(out.stop - 1, plan.scale), limit - 1)
            assert read.start <= max(0, low - halo)
            assert read.stop >= min(limit, high + 1 + halo)
            # the window says the same, counted from the start of a period
            shift = Fraction(out.start - wanted.start) / plan.scale
            assert shift == read.start - first
            assert shift % plan.scale.denominator == 0
    assert (covered == 1).all()


@given(sides, sides, scales, st.integers(16, 400))
def test_tiles_are_no_larger_than_asked(height, width, scale, size):
    for tile in Plan.of(height, width, scale, 21).tiles(size):
        assert max(tile.in_shape) <= size + 2 * 21


@given(sides, sides, st.sampled_from([1, 2, 3, 4, 8]), st.integers(16, 400))
def test_tiles_of_whole_scales_read_equally_much(height, width, scale, size):
    """Or each would be a shape of its own to whatever compiles or records it."""
    shapes = {tile.in_shape for tile in Plan.of(height, width, scale, 21).tiles(size)}
    assert len(shapes) == 1


@settings(deadline=None)
@given(sides, sides, scales)
def test_halves_cover_the_tile(height, width, scale):
    plan = Plan.of(height, width, scale, 21)
    (tile,) = plan.tiles(400)
    halves = plan.halves(tile)
    assert len(halves) >= 2 or height == width == 1
    covered = np.zeros((plan.out_height, plan.out_width), int)
    for half in halves:
        covered[half.out_rows, half.out_cols] += 1
    assert (covered == 1).all()


def test_tiles_of_a_large_image_are_alike():
    for scale in (2, 1.5, 3.7):
        tiles = list(Plan.of(2000, 2000, scale, 21).tiles(200))
        assert len({(tile.in_shape, tile.window) for tile in tiles}) <= 25
