"""The .chn files we ship, as far as they can be checked without a chaiNNer."""

from __future__ import annotations

import hashlib
import json
import re
from itertools import combinations
from pathlib import Path
from uuid import UUID

import pytest

ROOT = Path(__file__).parents[3]
CHAINS = sorted((ROOT / "workflows" / "chainner").glob("*.chn"))
FILES = {  # inputs that name a file or folder of the user's, by schema id
    "spanpp:pytorch:load_model": {"0"},
    "chainner:image:load": {"0"},
    "chainner:image:load_images": {"0"},
    "chainner:image:load_video": {"0"},
    "chainner:image:save": {"1"},
    "chainner:image:save_video": {"1"},
}

WIDTH = 240
HEIGHTS = {
    "chainner:image:load": 440,
    "chainner:image:load_images": 430,
    "chainner:image:load_video": 365,
    "chainner:image:save": 420,
    "chainner:image:save_video": 465,
    "chainner:image:view": 355,
    "spanpp:pytorch:load_model": 320,
    "spanpp:pytorch:set_scale": 235,
    "spanpp:pytorch:upscale_image": 325,
}
"""Measured in chaiNNer's own window, with what a run adds."""


@pytest.fixture(params=CHAINS, ids=lambda file: file.stem)
def chain(request: pytest.FixtureRequest) -> dict:
    return json.loads(request.param.read_text("utf-8"))


def test_there_are_workflows():
    names = {file.stem for file in CHAINS}
    assert names == {"single_image", "three_scales", "repair", "folder", "video"}


def test_checksum_is_that_of_the_content(chain: dict):
    compact = json.dumps(chain["content"], separators=(",", ":"), ensure_ascii=False)
    assert chain["checksum"] == hashlib.md5(compact.encode()).hexdigest()  # noqa: S324
    assert chain["migration"] == 45


def test_edges_join_nodes_that_are_there(chain: dict):
    ids = {node["id"] for node in chain["content"]["nodes"]}
    assert len(ids) == len(chain["content"]["nodes"])
    assert all(str(UUID(node)) == node for node in ids)
    for edge in chain["content"]["edges"]:
        assert {edge["source"], edge["target"]} <= ids
        assert re.fullmatch(re.escape(edge["source"]) + r"-\d+", edge["sourceHandle"])
        assert re.fullmatch(re.escape(edge["target"]) + r"-\d+", edge["targetHandle"])


def test_files_are_left_to_the_user(chain: dict):
    for node in chain["content"]["nodes"]:
        data = node["data"]
        assert not FILES.get(data["schemaId"], set()) & data["inputData"].keys()


def test_our_nodes_have_the_ids_they_are_registered_with(chain: dict):
    registered = set()
    for file in (ROOT / "nodes" / "chainner").glob("[!_]*.py"):
        registered |= set(re.findall(r'schema_id="([^"]+)"', file.read_text("utf-8")))
    used = {node["data"]["schemaId"] for node in chain["content"]["nodes"]}
    ours = {schema_id for schema_id in used if schema_id.startswith("spanpp:")}
    assert ours
    assert ours <= registered


def test_no_node_covers_another(chain: dict):
    places = [
        (node["data"]["schemaId"], node["position"]["x"], node["position"]["y"])
        for node in chain["content"]["nodes"]
    ]
    for (one, x, y), (other, x2, y2) in combinations(places, 2):
        beside = x + WIDTH <= x2 or x2 + WIDTH <= x
        above = y + HEIGHTS[one] <= y2 or y2 + HEIGHTS[other] <= y
        assert beside or above, f"{one} at {x}, {y} and {other} at {x2}, {y2}"
