"""The list of photos to train on."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

LIST = Path(__file__).parents[2] / "recipes" / "photos.csv"

pytestmark = pytest.mark.skipif(
    not LIST.is_file(), reason="the list is in the repository alone"
)


@pytest.fixture
def rows() -> list[dict[str, str]]:
    with LIST.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_photo_names_its_package_licence_and_hash_and_is_there_once(rows):
    assert rows
    for row in rows:
        assert row["source"] in ("debian", "npm", "pypi")
        assert row["package"]
        assert row["version"]
        assert row["file"]
        assert row["licence"]
        assert len(bytes.fromhex(row["sha256"])) == 32
        assert int(row["reduced"]) in (1, 2, 4)
    assert len({row["sha256"] for row in rows}) == len(rows)


def test_every_patch_of_the_recipes_fits_into_every_photo(rows):
    """64 low-resolution pixels and 4 around them, at x4."""
    for row in rows:
        shorter = min(int(row["width"]), int(row["height"])) // int(row["reduced"])
        assert shorter >= (64 + 2 * 4) * 4, row["file"]
