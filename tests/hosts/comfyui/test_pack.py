"""The pack in a real server: it loads cleanly and everything it ships is served."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from .server import PACK, PACK_NAME, ComfyServer

NODES = {
    "SpanPPLoadModel",
    "SpanPPSetScale",
    "SpanPPUpscale",
    "SpanPPUpscaleVideo",
    "SpanPPUpscaleFolder",
    "SpanPPCompare",
    "SpanPPModelInfo",
    "SpanPPSaveSlim",
    "SpanPPExport",
    "SpanPPDemoPhoto",
}
TEMPLATES = sorted(path.stem for path in (PACK / "workflows").glob("*.json"))
LANGUAGES = ("en", "zh", "ja")


def test_imports_without_a_word(comfy: ComfyServer) -> None:
    start, *_ = comfy.log().partition("Starting server")  # other tests make errors
    lines = [line for line in start.splitlines() if "spanpp" in line.lower()]
    bad = [
        line
        for line in lines
        if any(word in line.lower() for word in ("fail", "warn", "error", "cannot"))
    ]
    assert not bad
    assert any(f"custom_nodes/{PACK_NAME}" in line for line in lines)


def test_object_info_lists_the_nodes(comfy: ComfyServer) -> None:
    info = comfy.get("/object_info")
    assert set(info) >= NODES
    for name in NODES:
        assert info[name]["category"] == "image/upscaling"
        specs = {
            **info[name]["input"]["required"],
            **info[name]["input"].get("optional", {}),
        }
        for input_name, (_, options) in specs.items():
            assert options.get("tooltip"), f"{name}.{input_name} has no tooltip"
        assert all(info[name]["output_tooltips"])


def test_newer_schema_features_are_used_where_they_exist(comfy: ComfyServer) -> None:
    info = comfy.get("/object_info")
    upscale = info["SpanPPUpscale"]
    kind = upscale["input"]["required"]["size"][0]
    if "search_aliases" in upscale:
        assert kind == "COMFY_DYNAMICCOMBO_V3"
        assert upscale["search_aliases"]
        assert upscale["input"]["optional"]["tile"][1]["advanced"] is True
    else:
        assert kind == "COMBO"
        assert "size.width" in upscale["input"]["optional"]


def test_bundled_weights_are_offered_first(comfy: ComfyServer) -> None:
    combo = comfy.get("/object_info")["SpanPPLoadModel"]["input"]["required"]
    assert combo["model_name"][1]["options"][0] == "bundled"


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_and_thumbnail_are_served(comfy: ComfyServer, name: str) -> None:
    assert name in comfy.get("/workflow_templates")[PACK_NAME]
    root = f"/api/workflow_templates/{PACK_NAME}/{quote(name)}"
    assert comfy.get(f"{root}.json")["nodes"]
    assert comfy.read(f"{root}.jpg").startswith(b"\xff\xd8")


@pytest.mark.parametrize("node", sorted(NODES))
def test_help_pages_are_served(comfy: ComfyServer, node: str) -> None:
    root = f"/extensions/{PACK_NAME}/docs/{node}"
    assert comfy.read(f"{root}.md").startswith(b"# ")
    for language in LANGUAGES[1:]:
        assert comfy.read(f"{root}/{language}.md").startswith(b"# ")


def test_front_end_part_is_served(comfy: ComfyServer) -> None:
    offered = comfy.get("/extensions")
    for file in (PACK / "web").glob("*.js"):
        path = f"/extensions/{PACK_NAME}/{file.name}"
        assert path in offered
        assert comfy.read(path) == file.read_bytes()


def test_progress_stands_where_the_front_end_writes_it(comfy: ComfyServer) -> None:
    find = "import comfyui_frontend_package as p; print(p.__path__[0])"
    package = subprocess.check_output([comfy.python, "-c", find], text=True)
    (name,) = re.findall(
        r'PROGRESS = "(.+)"', (PACK / "web" / "text_box.js").read_text("utf-8")
    )
    scripts = (Path(package.strip()) / "static" / "assets").glob("*.js")
    assert any(name in script.read_text("utf-8") for script in scripts)


def test_locales_are_served(comfy: ComfyServer) -> None:
    translations = comfy.get("/i18n")
    for language in LANGUAGES:
        assert set(translations[language]["nodeDefs"]) >= NODES


def test_subgraph_is_served_where_the_host_does_that(comfy: ComfyServer) -> None:
    if not (comfy.comfy / "app" / "subgraph_manager.py").exists():
        pytest.skip("this ComfyUI serves no subgraphs")
    ours = {
        key: entry
        for key, entry in comfy.get("/global_subgraphs").items()
        if entry["info"]["node_pack"] == f"custom_nodes.{PACK_NAME}"
    }
    assert ours, "no block of subgraphs/ is listed"
    for key in ours:
        block = json.loads(comfy.get(f"/global_subgraphs/{key}")["data"])
        kinds = {
            node["type"]
            for graph in block["definitions"]["subgraphs"]
            for node in graph["nodes"]
        }
        assert kinds <= set(comfy.get("/object_info"))
