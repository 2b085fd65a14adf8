"""The shipped .chn files as they open: no node lies on another."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations
from pathlib import Path

import pytest

CHAINS = sorted((Path(__file__).parents[3] / "workflows" / "chainner").glob("*.chn"))

WIDTH = 240
HEIGHTS = {
    "chainner:image:load": 440,
    "chainner:image:load_images": 430,
    "chainner:image:load_video": 365,
    "chainner:image:save": 420,
    "chainner:image:save_video": 465,
    "chainner:image:view": 355,
    "spanpp:pytorch:load_model": 290,
    "spanpp:pytorch:set_scale": 235,
    "spanpp:pytorch:upscale_image": 325,
}
"""Measured in chaiNNer's own window, with what a run adds."""


@pytest.mark.parametrize("chain", CHAINS, ids=lambda path: path.stem)
def test_no_node_covers_another(chain: Path):
    content = json.loads(chain.read_text("utf-8"))["content"]
    places = [
        (node["data"]["schemaId"], node["position"]["x"], node["position"]["y"])
        for node in content["nodes"]
    ]
    for (one, x, y), (other, x2, y2) in combinations(places, 2):
        beside = x + WIDTH <= x2 or x2 + WIDTH <= x
        above = y + HEIGHTS[one] <= y2 or y2 + HEIGHTS[other] <= y
        assert beside or above, f"{one} at {x}, {y} and {other} at {x2}, {y2}"


@pytest.mark.parametrize("chain", CHAINS, ids=lambda path: path.stem)
def test_the_checksum_is_that_of_the_content(chain: Path):
    saved = json.loads(chain.read_text("utf-8"))
    compact = json.dumps(saved["content"], separators=(",", ":"), ensure_ascii=False)
    assert saved["checksum"] == hashlib.md5(compact.encode()).hexdigest()  # noqa: S324
