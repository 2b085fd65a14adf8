"""Templates as they are drawn: whole graphs, readable, nothing in front of anything."""

from __future__ import annotations

import itertools
import json
import math
import uuid
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from stand_in_host import PACK

TEMPLATES = sorted((PACK / "workflows").glob("*.json"))
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"

TITLE, SLOT = 30, 20
"""Heights in canvas units of a node's title and of a slot."""

WINDOW = (1480, 830)
"""Pixels of the canvas in a window of 1600x900."""

FILLED = 0.75
"""The share of it that the front end fits a template into when it opens one."""

READABLE = 0.6
"""Below about this zoom the front end draws no text."""

Point = tuple[float, float]


@pytest.fixture(params=TEMPLATES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def graph(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def rectangle(node: dict[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, with the title."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE, x + width, y + height


def test_links_and_slots_agree(graph: dict[str, Any]) -> None:
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert len(nodes) == len(graph["nodes"]) == graph["last_node_id"]
    assert len(graph["links"]) == graph["last_link_id"]
    uuid.UUID(graph["id"])
    for link, source, output, target, slot, kind in graph["links"]:
        assert nodes[source]["outputs"][output]["type"] == kind
        assert link in nodes[source]["outputs"][output]["links"]
        taken = nodes[target]["inputs"][slot]["type"]
        assert taken == "*" or kind in taken.split(",")
        assert nodes[target]["inputs"][slot]["link"] == link
    links = {link[0] for link in graph["links"]}
    for node in graph["nodes"]:
        for given in node.get("inputs", []):
            assert given["link"] is None or given["link"] in links


def test_every_id_is_known(graph: dict[str, Any]) -> None:
    ours = json.loads((PACK / "locales" / "en" / "nodeDefs.json").read_text("utf-8"))
    for node in graph["nodes"]:
        if node["type"].startswith("SpanPP"):
            assert node["type"] in ours
            assert node["properties"]["cnr_id"] == "spanpp"
        elif node["type"] != "MarkdownNote":
            assert node["properties"]["cnr_id"] == "comfy-core"


def test_no_node_is_on_another(graph: dict[str, Any]) -> None:
    for a, b in itertools.combinations(graph["nodes"], 2):
        first, second = rectangle(a), rectangle(b)
        beside = first[2] <= second[0] or second[2] <= first[0]
        above = first[3] <= second[1] or second[3] <= first[1]
        assert beside or above, f"{a['type']} {a['id']} and {b['type']} {b['id']}"


def test_no_wire_is_behind_a_node(graph: dict[str, Any]) -> None:
    for link, source, output, target, slot, _ in graph["links"]:
        for x, y in wire(graph, link, source, output, target, slot):
            for node in graph["nodes"]:
                if node["id"] in (source, target):
                    continue
                left, top, right, bottom = rectangle(node)
                behind = left + 2 < x < right - 2 and top + 2 < y < bottom - 2
                assert not behind, (
                    f"the wire from {source} to {target} is behind {node['id']}"
                    f" {node['type']} at ({x:.0f}, {y:.0f})"
                )


def wire(
    graph: dict[str, Any], link: int, source: int, output: int, target: int, slot: int
) -> list[Point]:
    """Points of a wire as the front end draws it, by its reroutes if it has some."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    begin, end = nodes[source], nodes[target]
    points: list[Point] = [
        (begin["pos"][0] + begin["size"][0], begin["pos"][1] + (output + 0.7) * SLOT)
    ]
    points += rerouted(graph, link)
    points.append((end["pos"][0], end["pos"][1] + (slot + 0.7) * SLOT))
    found: list[Point] = []
    for i, (a, b) in enumerate(itertools.pairwise(points)):
        quarter = 0.25 * math.dist(a, b)
        leave = (a[0] + quarter, a[1]) if i == 0 else a
        arrive = (b[0] - quarter, b[1]) if i == len(points) - 2 else b
        found += [bezier(k / 60, a, leave, arrive, b) for k in range(61)]
    return found


def rerouted(graph: dict[str, Any], link: int) -> list[Point]:
    """The points that a wire is led over, in order."""
    extra = graph["extra"]
    reroutes = {each["id"]: each for each in extra.get("reroutes", [])}
    last = {each["id"]: each["parentId"] for each in extra.get("linkExtensions", [])}
    found: list[Point] = []
    at = last.get(link)
    while at is not None:
        assert link in reroutes[at]["linkIds"]
        found.insert(0, tuple(reroutes[at]["pos"]))
        at = reroutes[at].get("parentId")
    return found


def bezier(t: float, a: Point, b: Point, c: Point, d: Point) -> Point:
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    x, y = (sum(w * p[k] for w, p in zip(weights, (a, b, c, d))) for k in (0, 1))
    return x, y


def test_it_opens_at_a_zoom_that_can_be_read(graph: dict[str, Any]) -> None:
    sides = list(zip(*map(rectangle, graph["nodes"])))
    size = max(sides[2]) - min(sides[0]), max(sides[3]) - min(sides[1])
    zoom = min(FILLED * window / side for window, side in zip(WINDOW, size))
    assert zoom >= READABLE


def test_it_has_a_picture_a_note_and_a_line_in_the_docs(
    path: Path, graph: dict[str, Any]
) -> None:
    picture = path.with_suffix(".jpg")
    with Image.open(picture) as image:
        assert image.size == (480, 360)
    assert picture.stat().st_size < 80_000
    assert path.name[0].isupper(), "people read the file's name"
    (note,) = [node for node in graph["nodes"] if node["type"] == "MarkdownNote"]
    assert note["title"] == path.stem.removesuffix(".app")
    docs = (PACK / "docs" / "comfyui.md").read_text("utf-8")
    assert f"| {path.stem} |" in docs


def template(name: str) -> dict[str, Any]:
    return json.loads((PACK / "workflows" / f"{name}.json").read_text("utf-8"))


def node_of(graph: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [node for node in graph["nodes"] if node["type"] == kind]
    return found


def test_the_app_shows_a_photo_a_scale_and_the_result() -> None:
    graph = template("Photo upscaler.app")
    app = graph["extra"]["linearData"]
    by_id = {str(node["id"]): node for node in graph["nodes"]}
    kinds = [(by_id[node]["type"], widget) for node, widget in app["inputs"]]
    assert kinds == [("LoadImage", "image"), ("PrimitiveFloat", "value")]
    (output,) = app["outputs"]
    assert by_id[output]["type"] == "SaveImage"
    slider = by_id[app["inputs"][1][0]]["properties"]
    assert (slider["display"], slider["min"], slider["max"]) == ("slider", 1, 8)
    assert graph["extra"]["linearMode"] is True


def test_the_hires_fix_names_its_checkpoint_as_templates_of_comfyui_do() -> None:
    loader = node_of(template("Hires fix x1.5"), "CheckpointLoaderSimple")
    (model,) = loader["properties"]["models"]
    assert loader["widgets_values"] == [model["name"]] == [CHECKPOINT]
    assert model["directory"] == "checkpoints"
    assert model["url"].endswith(f"/{CHECKPOINT}")


def test_the_hires_fix_upscales_by_half_to_what_a_vae_takes() -> None:
    upscale = node_of(template("Hires fix x1.5"), "SpanPPUpscale")
    assert upscale["widgets_values"][:3] == ["factor", 1.5, "64"]
    passes = [n for n in template("Hires fix x1.5")["nodes"] if n["type"] == "KSampler"]
    assert [node["widgets_values"][-1] for node in passes] == [1.0, 0.5]
