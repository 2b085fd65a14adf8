"""Paths and URLs used alike; no store is asked."""

from __future__ import annotations

import pytest

from spanpp_core.batch import stores
from spanpp_core.batch.places import Place


@pytest.mark.parametrize("options", ["", "?region=eu-west-1"])
@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("s3://bucket/in/my out", ["a.png", "my out 2/b.png"]),
        ("s3://bucket/in", ["a.png", "my out 2/b.png", "my out/a.png"]),
        ("s3://bucket/elsewhere", ["a.png", "my out 2/b.png", "my out/a.png"]),
        ("in/my out", ["a.png", "my out 2/b.png", "my out/a.png"]),
    ],
)
def test_results_below_the_input_are_not_read(monkeypatch, options, out, expected):
    names = ["a.png", "my out 2/b.png", "my out/a.png"]
    monkeypatch.setattr(stores, "files_below", lambda url: names)
    to = Place(out + options if "://" in out else out)
    assert list(Place("s3://bucket/in" + options).files(to)) == expected
