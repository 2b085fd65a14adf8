"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from spanpp_core.atomic_file import replacing, write_atomically


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    write_atomically(path, b"old")
    with replacing(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
        assert aside.suffix == ".txt"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    write_atomically(path, b"old")
    with pytest.raises(UnicodeError), replacing(path) as aside:
        aside.write_text("half \ud800", "utf-8")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
