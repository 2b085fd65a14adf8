"""Upscale Image (SpanPP) in a real chaiNNer backend gives the pixels of the core."""

from __future__ import annotations

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
from chains import (
    MODEL,
    OUR_LOADER,
    SET_SCALE,
    STOCK_LOADER,
    STOCK_UPSCALE,
    UPSCALE,
    assert_same,
    by_core,
    picture,
    saved,
    upscaling,
    written,
)
from PIL import Image

import spanpp_core
from spanpp_core import Size

pytestmark = pytest.mark.skipif(not (SOURCE and PYTHON), reason=MISSING)


@pytest.mark.parametrize("loader", [OUR_LOADER, STOCK_LOADER])
@pytest.mark.parametrize("scale", [1, 1.5, 2, 3, 4])
def test_upscale_equals_the_core(
    backend: Backend, graph: Graph, tmp_path: Path, scale: float, loader: str
):
    pixels = picture("RGB")
    upscaling(graph, tmp_path, pixels, scale, loader=loader, i5="native")
    assert backend.run(graph) == {"type": "success"}
    assert_same(written(tmp_path), by_core(pixels, scale))


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
