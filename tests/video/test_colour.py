"""Y'CbCr and RGB: known colours, and there and back at every depth, range and matrix."""

from __future__ import annotations

import pytest
import torch

from spanpp_core.video.colour import (
    LUMA,
    UNSPECIFIED,
    Encoding,
    matrix_of,
    to_planes,
    to_rgb,
)

NONE, ROWS_AND_COLUMNS = (False, False), (True, True)


def planes(*values: int) -> list[torch.Tensor]:
    return [torch.full((4, 4), value, dtype=torch.int32) for value in values]


@pytest.mark.parametrize(
    ("encoding", "stored", "rgb"),
    [
        # ITU-R BT.601 and BT.709: 75 % and 100 % colour bars, and black and white
        (Encoding(8, 6, False), (81, 90, 240), (1, 0, 0)),
        (Encoding(8, 1, False), (63, 102, 240), (1, 0, 0)),
        (Encoding(8, 1, False), (32, 240, 118), (0, 0, 1)),
        (Encoding(8, 1, False), (16, 128, 128), (0, 0, 0)),
        (Encoding(8, 1, False), (235, 128, 128), (1, 1, 1)),
        (Encoding(10, 9, False), (940, 512, 512), (1, 1, 1)),
        (Encoding(8, 6, True), (255, 128, 128), (1, 1, 1)),
        (Encoding(8, 6, True), (76, 85, 255), (1, 0, 0)),
    ],
)
def test_known_colours(encoding, stored, rgb):
    found = to_rgb(planes(*stored), encoding)[0, :, 0, 0]
    assert torch.allclose(found, torch.tensor(rgb).float(), atol=0.008)
    made = to_planes(torch.tensor(rgb).float().view(1, 3, 1, 1), encoding, NONE)
    for plane, value in zip(made, stored):
        assert abs(int(plane) - value) <= 1


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", LUMA)
def test_there_and_back(bits, full_range, matrix):
    encoding = Encoding(bits, matrix, full_range)
    rgb = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    back = to_rgb(to_planes(rgb, encoding, NONE), encoding)
    assert (back - rgb).abs().max() < 3 / 2**bits


@pytest.mark.parametrize(
    ("bits", "dtype"), [(8, torch.uint8), (10, torch.int16), (16, torch.int16)]
)
def test_planes_have_no_more_bytes_than_they_are_stored_in(bits, dtype):
    """They are copied from a GPU so."""
    made = to_planes(torch.rand(1, 3, 4, 4), Encoding(bits, 1, True), ROWS_AND_COLUMNS)
    assert {plane.dtype for plane in made} == {dtype}


def test_halved_chroma_stays_in_its_place():
    """A ramp is linear, so taking it apart and interpolating it loses nothing inside."""
    encoding = Encoding(16, 1, True)
    ramp = torch.linspace(0, 1, 16)
    rgb = torch.stack(
        [ramp.expand(16, 16), ramp.view(-1, 1).expand(16, 16), 1 - ramp.expand(16, 16)]
    )[None]
    back = to_rgb(to_planes(rgb, encoding, ROWS_AND_COLUMNS), encoding)
    assert (back - rgb)[..., 2:-2, 2:-2].abs().max() < 1e-3


def test_grey_is_three_equal_channels():
    rgb = to_rgb(planes(126)[:1], Encoding(8, 6, False))
    assert rgb.shape == (1, 3, 4, 4)
    assert torch.allclose(rgb, torch.tensor(110 / 219))


@pytest.mark.parametrize(
    ("tag", "height", "matrix"),
    [(1, 100, 1), (9, 100, 9), (UNSPECIFIED, 576, 6), (UNSPECIFIED, 720, 1)],
)
def test_matrix_is_the_tag_or_what_players_assume(tag, height, matrix):
    assert matrix_of(tag, height) == matrix
    assert matrix_of(14, height) is None  # ICtCp is no matrix of this kind
