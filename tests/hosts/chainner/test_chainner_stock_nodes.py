"""Nodes of chaiNNer's own take our models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from chainner_backend import MISSING, PYTHON, SOURCE, Backend, Graph
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

import spanpp_core

pytestmark = pytest.mark.skipif(not (SOURCE and PYTHON), reason=MISSING)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("loader", [OUR_LOADER, STOCK_LOADER])
def test_stock_upscale_takes_our_models(
    backend: Backend, graph: Graph, tmp_path: Path, scale: int, loader: str
):
    pixels = picture("RGB")
    upscaling(graph, tmp_path, pixels, scale, loader=loader, node=STOCK_UPSCALE)
    assert backend.run(graph) == {"type": "success"}
    assert_same(written(tmp_path), by_core(pixels, scale))


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
