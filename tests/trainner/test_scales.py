"""What the trainer's models need to know of scales, without the trainer."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import torch

from traiNNer.utils.spanpp_scales import (
    checked_eval_scale,
    checked_scales,
    drawn_scale,
    ground_truth_at,
    pair_scale,
    wrong_pair,
)


@pytest.mark.parametrize(
    ("scale_list", "scale", "scales"),
    [
        ([1, 2, 3, 4], 4, (1, 2, 3, 4)),
        ([4, 2, 2], 4, (2, 4)),
        ([2.0, 3.0], 3, (2, 3)),
        ([8], 8, (8,)),
        (None, 3, (1, 2, 3)),
    ],
)
def test_scales_come_sorted_and_once(scale_list, scale, scales):
    assert checked_scales(scale_list, scale) == scales


@pytest.mark.parametrize(
    ("scale_list", "scale", "says"),
    [
        ([], 4, "scale_list is []; give a list"),
        (4, 4, "scale_list is 4; give a list"),
        ("1, 2", 2, "scale_list is '1, 2'"),
        ([1, 2, 9], 9, "scale_list holds 9; give whole numbers from 1 to 8"),
        ([0, 2], 2, "scale_list holds 0"),
        ([1, 2.5], 2, "scale_list holds 2.5"),
        ([True, 2], 2, "scale_list holds True"),
        (["2"], 2, "scale_list holds '2'"),
        ([float("nan")], 2, "scale_list holds nan"),
        ([1, 2, 3, 4], 3, "scale is 3 and the largest of scale_list is 4"),
        ([1, 2], 4, "scale is 4 and the largest of scale_list is 2"),
    ],
)
def test_wrong_lists_are_one_line(scale_list, scale, says):
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        checked_scales(scale_list, scale)
    assert "\n" not in str(error.value)


def test_validation_scale_is_one_that_is_trained():
    assert checked_eval_scale(2, (1, 2, 4)) == 2
    assert checked_eval_scale(None, (1, 2, 4)) == 4
    for wrong in (3, 0, True, "2", [2]):
        with pytest.raises(ValueError, match=r"give one of scale_list, \[1, 2, 4\]"):
            checked_eval_scale(wrong, (1, 2, 4))


def test_scales_are_drawn_evenly_and_again_the_same():
    scales = (1, 2, 3, 4)
    drawn = [drawn_scale(7, i, 0, scales) for i in range(4000)]
    assert drawn == [drawn_scale(7, i, 0, scales) for i in range(4000)]
    assert drawn != [drawn_scale(8, i, 0, scales) for i in range(4000)]
    assert drawn != [drawn_scale(7, i, 1, scales) for i in range(4000)]
    assert all(900 < count < 1100 for count in Counter(drawn).values())


@pytest.mark.parametrize("scale", [1, 2])
def test_ground_truth_is_made_smaller_without_aliases(scale: int):
    """Stripes are grey from afar; aliased they stay stripes."""
    gt = torch.zeros(1, 3, 48, 48)
    gt[..., ::3] = 1.5  # a third of the columns: 0.5 on average
    made = ground_truth_at(scale, gt, (12, 12))
    assert made.shape == (1, 3, 12 * scale, 12 * scale)
    assert (made[..., 2:-2] - 0.5).abs().max() < 0.2


def test_ground_truth_of_the_largest_scale_is_left_alone():
    gt = torch.rand(1, 3, 48, 48)
    assert ground_truth_at(4, gt, (12, 12)) is gt


def test_ground_truth_stays_in_range():
    gt = torch.zeros(1, 3, 48, 48)
    gt[..., 24:] = 1  # bicubic overshoots at the edge
    made = ground_truth_at(2, gt, (12, 12))
    assert made.min() == 0
    assert made.max() == 1


@pytest.mark.parametrize(
    ("gt", "lq", "scale"),
    [
        ((120, 80), (30, 20), 4),
        ((121, 83), (60, 41), 2),
        ((100, 100), (100, 100), 1),
        ((100, 120), (50, 40), None),
        ((99, 99), (50, 50), None),
    ],
)
def test_pairs_tell_their_scale(gt, lq, scale):
    assert pair_scale(gt, lq) == scale


def test_training_pairs_are_of_the_largest_scale():
    assert wrong_pair((64, 128), (16, 32), True, 4, 2) is None
    line = wrong_pair((48, 96), (16, 32), True, 4, 2)
    assert line == (
        "96x48 of a low-resolution 32x16 is x3; the training pairs must be exactly x4,"
        " the largest of scale_list"
    )


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_validation_pairs_are_of_its_scale_or_a_larger_one(scale):
    assert wrong_pair((32 * scale, 16 * scale), (32, 16), False, 4, 2) is None
    assert "is x1; validation takes" in (wrong_pair((9, 9), (9, 9), False, 4, 2) or "")
