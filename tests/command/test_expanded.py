"""File names by pattern, where no shell puts them in."""

from __future__ import annotations

from pathlib import Path

import pytest

from spanpp_core.command import expanded


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["*.jpg", "-o", "out"], ["a [1].jpg", "b.jpg", "-o", "out"]),
        (["a [1].jpg"], ["a [1].jpg"]),
        (["a [?].jpg"], ["a [1].jpg"]),
        (["*.tif", "s3://bucket/*.png"], ["*.tif", "s3://bucket/*.png"]),
    ],
)
def test_patterns_become_names(tmp_path, monkeypatch, given, expected):
    for name in ("b.jpg", "a [1].jpg", "a 1.png"):
        Path(tmp_path, name).touch()
    monkeypatch.chdir(tmp_path)
    assert expanded(given) == expected
