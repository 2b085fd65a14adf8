"""Inputs and the names of their results."""

from __future__ import annotations

import pytest

from spanpp_core.batch.pairs import pairs
from spanpp_core.errors import BatchError


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    path.touch()
    return path


@pytest.mark.parametrize("name", ["big.gif", "BIG.AVI", "big.svg"])
def test_a_result_of_a_kind_that_cannot_be_written_is_refused(photo, name):
    with pytest.raises(BatchError, match=r"cannot be written; .*\.png.*\.mp4"):
        pairs([str(photo)], str(photo.parent / name))


@pytest.mark.parametrize("name", ["out", "out.v2", "x2.5"])
def test_other_names_are_folders(photo, name):
    out = photo.parent / name
    assert pairs([str(photo)], str(out)) == [(str(photo), str(out / "photo.png"))]


def test_a_folder_may_be_called_as_an_image_is(photo):
    out = photo.parent / "old.gif"
    out.mkdir()
    assert pairs([str(photo)], str(out)) == [(str(photo), str(out / "photo.png"))]
