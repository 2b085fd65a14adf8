"""The SpanPP nodes in a real chaiNNer backend, installed by our own command."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
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
from PIL import Image
from tiny import fine_tuned

import spanpp_core
from spanpp_core import Size

pytestmark = pytest.mark.skipif(not (SOURCE and PYTHON), reason=MISSING)

OUR_LOADER = "spanpp:pytorch:load_model"
STOCK_LOADER = "chainner:pytorch:load_model"
SET_SCALE = "spanpp:pytorch:set_scale"
UPSCALE = "spanpp:pytorch:upscale_image"
STOCK_UPSCALE = "chainner:pytorch:upscale_image"
MODEL = str(spanpp_core.bundled_model())


def picture(mode: str, height: int = 22, width: int = 30) -> np.ndarray:
    """A smooth picture in [0, 255], with noise: (height, width[, channels])."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    channels = len(Image.new(mode, (1, 1)).getbands())
    waves = [np.sin(x / (3 + c)) + np.cos(y / (2 + c)) for c in range(channels)]
    image = (
        127 + 50 * np.stack(waves, -1) + random.normal(0, 6, (height, width, channels))
    )
    return np.squeeze(image.clip(0, 255).astype(np.uint8))


def saved(folder: Path, pixels: np.ndarray, name: str = "in") -> str:
    Image.fromarray(pixels).save(folder / f"{name}.png")
    return str(folder / f"{name}.png")


def upscaling(
    graph: Graph,
    folder: Path,
    pixels: np.ndarray,
    scale: float,
    *,
    loader: str = OUR_LOADER,
    node: str = UPSCALE,
    weights: dict[str, Any] | None = None,
    **inputs: Any,
) -> tuple[str, str]:
    """Adds a whole chain from file to file; returns the loader's and upscaler's ids."""
    image = graph.add("chainner:image:load", i0=saved(folder, pixels))
    model = graph.add(loader, **(weights or {"i0": MODEL}))
    scaled = graph.add(SET_SCALE, i0=(model, 0), i1=scale)
    if node == UPSCALE:
        inputs = {"i0": (image, 0), "i1": (scaled, 0), **inputs}
    else:
        inputs = {"i1": (image, 0), "i0": (scaled, 0), **inputs}
    upscaled = graph.add(node, **inputs)
    graph.add("chainner:image:save", i0=(upscaled, 0), i1=str(folder), i3="out")
    return model, upscaled


def written(folder: Path) -> np.ndarray:
    return np.asarray(Image.open(folder / "out.png"))


def by_core(pixels: np.ndarray, scale: float, tile: int | None = None) -> np.ndarray:
    """What `spanpp_core.upscale` makes of RGB pixels, in [0, 255] and unrounded."""
    model = spanpp_core.load(MODEL).at_scale(scale)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    return 255 * spanpp_core.upscale(model, x, tile)[0].permute(1, 2, 0).numpy()


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    worst = np.abs(found - expected).max()
    assert worst <= 1.0, f"differs from spanpp_core by {worst:.2f}/255"


def test_backend_lists_our_nodes_without_complaint(
    backend: Backend, schemata: dict[str, dict[str, Any]]
):
    assert {OUR_LOADER, SET_SCALE, UPSCALE} <= schemata.keys()
    for schema_id in (OUR_LOADER, SET_SCALE, UPSCALE):
        assert schemata[schema_id]["category"] == "pytorch"
        for other in schemata[schema_id]["seeAlso"]:
            assert other in schemata, f"see_also of {schema_id} names no node: {other}"
    assert "SpanPP" not in backend.log, backend.log


@pytest.mark.parametrize("loader", [OUR_LOADER, STOCK_LOADER])
@pytest.mark.parametrize("scale", [1, 1.5, 2, 3, 4])
def test_upscale_equals_the_core(
    backend: Backend, graph: Graph, tmp_path: Path, scale: float, loader: str
):
    pixels = picture("RGB")
    upscaling(graph, tmp_path, pixels, scale, loader=loader, i5="native")
    assert backend.run(graph) == {"type": "success"}
    assert_same(written(tmp_path), by_core(pixels, scale))


@pytest.fixture
def clean_file(tmp_path: Path) -> Path:
    """A file with a repair model beside it."""
    clean = spanpp_core.read(MODEL)
    spanpp_core.write_slim(tmp_path / "clean.safetensors", clean)
    repair = replace(clean, state_dict=fine_tuned(clean.state_dict))
    spanpp_core.write_slim(tmp_path / "clean_repair.safetensors", repair)
    return tmp_path / "clean.safetensors"


@pytest.mark.parametrize("repair", [None, 0, 0.35, 1])
@pytest.mark.parametrize("node", [UPSCALE, STOCK_UPSCALE])
def test_repair_is_that_of_the_core(
    backend: Backend,
    graph: Graph,
    tmp_path: Path,
    clean_file: Path,
    node: str,
    repair: float | None,
):
    """None: a chain that was saved before there was a repair, run without the editor."""
    pixels = picture("RGB")
    weights = {"i0": str(clean_file), "i1": repair}
    upscaling(graph, tmp_path, pixels, 2, node=node, weights=weights)
    assert backend.run(graph) == {"type": "success"}
    model = spanpp_core.load(clean_file, repair=repair or 0)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    assert_same(
        written(tmp_path),
        255 * spanpp_core.upscale(model, x)[0].permute(1, 2, 0).numpy(),
    )


def test_without_a_repair_model_its_name_is_told(
    backend: Backend, graph: Graph, tmp_path: Path, clean_file: Path
):
    clean_file.with_name("clean_repair.safetensors").unlink()
    weights = {"i0": str(clean_file), "i1": 0.5}
    upscaling(graph, tmp_path, picture("RGB"), 2, weights=weights)
    answer = backend.run(graph)
    assert answer["type"] == "error"
    assert "as clean_repair.safetensors" in answer["exception"]


def test_fractional_scale_by_downscaling(
    backend: Backend, graph: Graph, tmp_path: Path
):
    pixels = picture("RGB")
    upscaling(graph, tmp_path, pixels, 2.5, i5="downscale")
    assert backend.run(graph) == {"type": "success"}
    model = spanpp_core.load(MODEL)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    y = spanpp_core.upscale(model, x, size=Size(factor=2.5), fractional="downscale")
    assert_same(written(tmp_path), 255 * y[0].permute(1, 2, 0).numpy())


def test_fractional_scales_are_native_by_default_for_models_trained_on_them(
    backend: Backend, graph: Graph, tmp_path: Path
):
    pixels = picture("RGB")
    upscaling(graph, tmp_path, pixels, 1.3333)
    assert backend.run(graph) == {"type": "success"}
    assert_same(written(tmp_path), by_core(pixels, 1.3333))


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("loader", [OUR_LOADER, STOCK_LOADER])
def test_stock_upscale_takes_our_models(
    backend: Backend, graph: Graph, tmp_path: Path, scale: int, loader: str
):
    pixels = picture("RGB")
    upscaling(graph, tmp_path, pixels, scale, loader=loader, node=STOCK_UPSCALE)
    assert backend.run(graph) == {"type": "success"}
    assert_same(written(tmp_path), by_core(pixels, scale))


@pytest.mark.parametrize("scale", [2, 2.5])
def test_tiles_do_not_show(
    backend: Backend, graph: Graph, tmp_path: Path, scale: float
):
    pixels = picture("RGB", 50, 70)
    _, node = upscaling(graph, tmp_path, pixels, scale, i2=-3, i3=20, i5="native")
    assert backend.run(graph) == {"type": "success"}
    assert_same(written(tmp_path), by_core(pixels, scale))
    if sends_progress():
        wait_for(lambda: 1 in progress_of(backend, node))
        progress = progress_of(backend, node)
        assert any(0 < p < 1 for p in progress), f"no progress by tile: {progress}"
        assert progress == sorted(progress)


def progress_of(backend: Backend, node: str) -> list[float]:
    told = [e for e in backend.told("node-progress") if e["nodeId"] == node]
    return [event["progress"] for event in told]


@pytest.mark.parametrize("separate_alpha", [0, 1])
def test_alpha_as_chainner_does_it(
    backend: Backend, schemata: Any, tmp_path: Path, separate_alpha: int
):
    pixels = picture("RGBA")
    ours = Graph(schemata)
    upscaling(ours, tmp_path, pixels, 2, i4=separate_alpha)
    assert backend.run(ours) == {"type": "success"}
    found = written(tmp_path)
    stock = Graph(schemata)
    upscaling(stock, tmp_path, pixels, 2, node=STOCK_UPSCALE, i3=separate_alpha)
    assert backend.run(stock) == {"type": "success"}
    assert found.shape == (44, 60, 4)
    assert_same(found.astype(float), written(tmp_path))


def test_grey_as_chainner_does_it(backend: Backend, schemata: Any, tmp_path: Path):
    pixels = picture("L")
    ours = Graph(schemata)
    upscaling(ours, tmp_path, pixels, 2)
    assert backend.run(ours) == {"type": "success"}
    found = written(tmp_path)
    stock = Graph(schemata)
    upscaling(stock, tmp_path, pixels, 2, node=STOCK_UPSCALE)
    assert backend.run(stock) == {"type": "success"}
    assert_same(found.astype(float), written(tmp_path))


def test_one_model_at_three_scales(backend: Backend, graph: Graph, tmp_path: Path):
    pixels = picture("RGB")
    image = graph.add("chainner:image:load", i0=saved(tmp_path, pixels))
    model = graph.add(OUR_LOADER, i0=MODEL)
    for scale in (1.5, 2, 4):
        scaled = graph.add(SET_SCALE, i0=(model, 0), i1=scale)
        upscaled = graph.add(UPSCALE, i0=(image, 0), i1=(scaled, 0), i5="native")
        name = f"x{scale}"
        graph.add("chainner:image:save", i0=(upscaled, 0), i1=str(tmp_path), i3=name)
    assert backend.run(graph) == {"type": "success"}
    for scale in (1.5, 2, 4):
        found = np.asarray(Image.open(tmp_path / f"x{scale}.png"))
        assert_same(found, by_core(pixels, scale))


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


@pytest.mark.parametrize("weight_format", ["pth", "safetensors"])
def test_stock_save_model(
    backend: Backend, graph: Graph, tmp_path: Path, weight_format: str
):
    model = graph.add(OUR_LOADER, i0=MODEL)
    scaled = graph.add(SET_SCALE, i0=(model, 0), i1=3)
    graph.add(
        "chainner:pytorch:save_model",
        i0=(scaled, 0),
        i1=str(tmp_path),
        i2="saved",
        i3=weight_format,
    )
    assert backend.run(graph) == {"type": "success"}
    again = spanpp_core.load(tmp_path / f"saved.{weight_format}").at_scale(2)
    x = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(again(x), spanpp_core.load(MODEL).at_scale(2)(x))


def test_stock_interpolate_models(backend: Backend, graph: Graph, tmp_path: Path):
    pixels = picture("RGB")
    image = graph.add("chainner:image:load", i0=saved(tmp_path, pixels))
    a = graph.add(OUR_LOADER, i0=MODEL)
    b = graph.add(STOCK_LOADER, i0=MODEL)
    mixed = graph.add(
        "chainner:pytorch:interpolate_models", i0=(a, 0), i1=(b, 0), i2=30
    )
    scaled = graph.add(SET_SCALE, i0=(mixed, 0), i1=1.5)
    upscaled = graph.add(UPSCALE, i0=(image, 0), i1=(scaled, 0), i5="native")
    graph.add("chainner:image:save", i0=(upscaled, 0), i1=str(tmp_path), i3="out")
    assert backend.run(graph) == {"type": "success"}
    assert_same(written(tmp_path), by_core(pixels, 1.5))


@pytest.mark.parametrize("scale", [2, 4])
def test_stock_convert_to_onnx_bakes_the_scale_in(
    backend: Backend, graph: Graph, tmp_path: Path, scale: int
):
    pixels = picture("RGB", 64, 64)  # chaiNNer pads what is not a multiple of 64
    image = graph.add("chainner:image:load", i0=saved(tmp_path, pixels))
    model = graph.add(OUR_LOADER, i0=MODEL)
    scaled = graph.add(SET_SCALE, i0=(model, 0), i1=scale)
    onnx = graph.add("chainner:pytorch:convert_to_onnx", i0=(scaled, 0))
    upscaled = graph.add("chainner:onnx:upscale_image", i0=(onnx, 0), i1=(image, 0))
    graph.add("chainner:image:save", i0=(upscaled, 0), i1=str(tmp_path), i3="out")
    answer = backend.run(graph)
    assert answer == {"type": "success"}
    assert_same(written(tmp_path), by_core(pixels, scale))
