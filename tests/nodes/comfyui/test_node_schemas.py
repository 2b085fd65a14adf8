"""Every node: its ids, its texts in three languages, its help page."""

from __future__ import annotations

import asyncio
import json

import pytest
import spandrel
from node_calls import is_newer
from stand_in_host import PACK, Host

NODES = (
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
)


def test_the_entry_point_gives_every_node_and_registers_the_architecture(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = spandrel.ArchRegistry()
    monkeypatch.setattr(host.core.descriptor, "MAIN_REGISTRY", registry)
    extension = asyncio.run(host.pack.comfy_entrypoint())
    names = [node.__name__ for node in asyncio.run(extension.get_node_list())]
    assert names == list(NODES)
    assert "SpanPP" in registry
    assert (PACK / host.pack.WEB_DIRECTORY).is_dir()


@pytest.mark.parametrize("name", NODES)
def test_ids_are_unique_and_every_socket_has_a_tooltip(host: Host, name: str) -> None:
    schema = host.node(name).define_schema()
    assert schema.node_id == name
    ids = [each.id for each in (*schema.inputs, *schema.outputs)]
    assert len(set(ids)) == len(ids), "older hosts take inputs and outputs together"
    for each in (*schema.inputs, *schema.outputs):
        assert each.options["tooltip"], each.id


@pytest.mark.parametrize("name", NODES)
def test_english_texts_are_those_of_the_schema(host: Host, name: str) -> None:
    schema = host.node(name).define_schema()
    path = PACK / "locales" / "en" / "nodeDefs.json"
    texts = json.loads(path.read_text("utf-8"))[name]
    assert texts["display_name"] == schema.display_name
    assert texts["description"] == schema.description
    for i, each in enumerate(schema.outputs):
        assert texts["outputs"][str(i)]["name"] == each.options["display_name"]
        assert texts["outputs"][str(i)]["tooltip"] == each.options["tooltip"]
    for each in schema.inputs:
        if "." not in each.id:  # older hosts say there which option uses it
            text = texts["inputs"][each.id]
            assert text["tooltip"] == each.options["tooltip"]


@pytest.mark.parametrize("language", ["en", "zh", "ja"])
@pytest.mark.parametrize("name", NODES)
def test_locales_and_help_cover_every_socket(
    host: Host, name: str, language: str
) -> None:
    schema = host.node(name).define_schema()
    path = PACK / "locales" / language / "nodeDefs.json"
    texts = json.loads(path.read_text("utf-8"))[name]
    expected = set()
    for each in schema.inputs:
        expected.add(each.id.replace(".", "_"))
        for option in each.options.get("options", []):
            for nested in getattr(option, "inputs", []):
                expected.add(f"{each.id}_{nested.id}")
    assert set(texts["inputs"]) == expected
    assert not [
        text["name"] for text in texts["inputs"].values() if "_" in text["name"]
    ]
    assert set(texts.get("outputs", {})) == {str(i) for i in range(len(schema.outputs))}
    page = PACK / "web" / "docs"
    page /= f"{name}.md" if language == "en" else f"{name}/{language}.md"
    lines = page.read_text("utf-8")
    for text in (*texts["inputs"].values(), *texts.get("outputs", {}).values()):
        assert text["tooltip"] in lines, f"{page} does not explain {text['name']!r}"


@pytest.mark.parametrize("name", NODES)
def test_nodes_are_found_in_three_languages(host: Host, name: str) -> None:
    schema = host.node(name).define_schema()
    if not is_newer(host) or schema.is_deprecated:
        return
    english = [alias for alias in schema.search_aliases if alias.isascii()]
    assert len(english) >= 2
    assert len(schema.search_aliases) - len(english) >= 2


def test_own_models_are_listed(host: Host) -> None:
    extension = asyncio.run(host.pack.comfy_entrypoint())
    asyncio.run(extension.get_node_list())
    assert host.listed == [("upscale_models", str(host.output / "upscale_models"))]
