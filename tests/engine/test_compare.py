"""Before and after in one picture."""

from __future__ import annotations

import pytest
import torch

from spanpp_core import split_view

BEFORE = torch.full((1, 3, 4, 5), 0.25)
AFTER = torch.full((2, 3, 8, 10), 0.75)


@pytest.mark.parametrize(
    ("divider", "left", "right"), [(0, 0.75, 0.75), (1, 0.25, 0.25)]
)
def test_the_ends_show_one_of_them(divider: float, left: float, right: float) -> None:
    view = split_view(BEFORE, AFTER, divider)
    assert view.shape == AFTER.shape
    assert torch.allclose(view[..., :1], torch.tensor(left))
    assert torch.allclose(view[..., -1:], torch.tensor(right))


def test_a_line_stands_between_them() -> None:
    view = split_view(BEFORE, AFTER, 0.5)
    assert torch.allclose(view[..., :4], torch.tensor(0.25))
    assert view[..., 4:6].eq(1).all()
    assert view[..., 6:].eq(0.75).all()
    assert AFTER.eq(0.75).all(), "the caller's image was written to"


@pytest.mark.parametrize(
    ("before", "divider"),
    [(BEFORE[:, :1], 0.5), (BEFORE.repeat(3, 1, 1, 1), 0.5), (BEFORE, 1.5)],
)
def test_what_cannot_be_compared_says_so(before: torch.Tensor, divider: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        split_view(before, AFTER, divider)
