"""The SpanPP nodes as a real chaiNNer backend lists, runs, explains and aborts them."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from chainner_backend import (
    MISSING,
    PYTHON,
    SOURCE,
    Backend,
    Graph,
    sends_progress,
    wait_for,
)
from chains import (
    OUR_LOADER,
    SET_SCALE,
    STOCK_LOADER,
    UPSCALE,
    assert_same,
    by_core,
    picture,
    saved,
    upscaling,
    written,
)

import spanpp_core

pytestmark = pytest.mark.skipif(not (SOURCE and PYTHON), reason=MISSING)


def test_backend_lists_our_nodes_without_complaint(
    backend: Backend, schemata: dict[str, dict[str, Any]]
):
    assert {OUR_LOADER, SET_SCALE, UPSCALE} <= schemata.keys()
    for schema_id in (OUR_LOADER, SET_SCALE, UPSCALE):
        assert schemata[schema_id]["category"] == "pytorch"
        for other in schemata[schema_id]["seeAlso"]:
            assert other in schemata, f"see_also of {schema_id} names no node: {other}"
    assert "SpanPP" not in backend.log, backend.log


def test_types_of_what_ran_match_what_the_editor_inferred(
    backend: Backend, graph: Graph, tmp_path: Path
):
    upscaling(graph, tmp_path, picture("RGB"), 2.5)
    assert backend.run(graph) == {"type": "success"}
    wait_for(lambda: len(backend.told("node-broadcast")) >= 4)  # all but Save Image
    types = {e["nodeId"]: e["types"] for e in backend.told("node-broadcast")}
    by_schema = {n["schemaId"]: types.get(n["id"]) for n in graph.nodes}
    assert by_schema[SET_SCALE]["0"] is None
    loaded = by_schema[OUR_LOADER]["0"]
    assert loaded["name"] == "PyTorchModel"
    assert loaded["fields"]["arch"]["value"] == "SpanPP"
    assert loaded["fields"]["subType"]["value"] == "SR"
    assert loaded["fields"]["outputChannels"] == 3
    assert by_schema[UPSCALE]["0"]["fields"] == {
        "width": 75,
        "height": 55,
        "channels": 3,
    }


def test_single_node_executor(backend: Backend, graph: Graph, tmp_path: Path):
    pixels = picture("RGB")
    model, _ = upscaling(graph, tmp_path, pixels, 3)
    assert backend.run_individual(graph, model)["success"]
    assert backend.run(graph) == {"type": "success"}
    assert_same(written(tmp_path), by_core(pixels, 3))


def test_experimental_executor(backend: Backend, graph: Graph, tmp_path: Path):
    pixels = picture("RGB")
    upscaling(graph, tmp_path, pixels, 1.5, i5="native")
    assert backend.run(graph, experimental=True) == {"type": "success"}
    assert_same(written(tmp_path), by_core(pixels, 1.5))


def test_wrong_file_is_explained_at_its_node(
    backend: Backend, graph: Graph, tmp_path: Path
):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    model = graph.add(OUR_LOADER, i0=str(tmp_path / "other.pth"))
    answer = backend.run(graph)
    assert answer["type"] == "error"
    assert answer["source"]["nodeId"] == model
    with pytest.raises(spanpp_core.CheckpointError) as expected:
        spanpp_core.load(tmp_path / "other.pth")
    assert answer["exception"] == str(expected.value)


def test_other_architecture_is_explained_at_its_node(
    backend: Backend, graph: Graph, tmp_path: Path
):
    torch.save(srvgg(), tmp_path / "compact.pth")
    model = graph.add(STOCK_LOADER, i0=str(tmp_path / "compact.pth"))
    scaled = graph.add(SET_SCALE, i0=(model, 0), i1=2)
    image = graph.add("chainner:image:load", i0=saved(tmp_path, picture("RGB")))
    upscaled = graph.add(UPSCALE, i0=(image, 0), i1=(scaled, 0))
    graph.add("chainner:image:view", i0=(upscaled, 0))
    answer = backend.run(graph)
    assert answer["source"]["nodeId"] == scaled
    assert "only takes SpanPP models" in answer["exception"]


def srvgg() -> dict[str, torch.Tensor]:
    """The smallest state dict that spandrel takes for the Compact architecture."""
    return {
        "body.0.weight": torch.zeros(4, 3, 3, 3),
        "body.0.bias": torch.zeros(4),
        "body.1.weight": torch.zeros(4),
        "body.2.weight": torch.zeros(12, 4, 3, 3),
        "body.2.bias": torch.zeros(12),
    }


def test_abort_is_at_once(backend: Backend, graph: Graph, tmp_path: Path):
    _, node = upscaling(graph, tmp_path, picture("RGB", 400, 600), 4, i2=-3, i3=16)
    run = threading.Thread(target=backend.run, args=(graph,))
    run.start()
    event = "node-progress" if sends_progress() else "node-start"
    wait_for(lambda: any(e["nodeId"] == node for e in backend.told(event)))
    started = time.monotonic()
    assert backend.post("/kill")["type"] == "success"
    run.join(60)
    assert not run.is_alive()
    assert time.monotonic() - started < 15
    assert not (tmp_path / "out.png").exists()
