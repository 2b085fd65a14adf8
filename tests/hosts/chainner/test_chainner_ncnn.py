"""SpanPP in chaiNNer's NCNN nodes: exported files, and those chaiNNer makes itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from chainner_backend import MISSING, PYTHON, SOURCE, Backend, Graph
from PIL import Image

import spanpp_core
from spanpp_core import checkpoint
from spanpp_core.export import ExportOptions, export

pytestmark = pytest.mark.skipif(not (SOURCE and PYTHON), reason=MISSING)

MODEL = str(spanpp_core.bundled_model())


def upscaled(
    backend: Backend, graph: Graph, model: str, scale: int, folder: Path
) -> None:
    """Upscales an image by an NCNN model of the graph, and compares it with the core."""
    with Image.open(spanpp_core.bundled_photo()) as photo:
        pixels = np.array(photo.convert("RGB").crop((0, 0, 64, 48)))
    Image.fromarray(pixels).save(folder / "in.png")
    image = graph.add("chainner:image:load", i0=str(folder / "in.png"))
    result = graph.add("chainner:ncnn:upscale_image", i0=(model, 0), i1=(image, 0))
    graph.add("chainner:image:save", i0=(result, 0), i1=str(folder), i3="out")
    answer = backend.run(graph)
    assert answer["type"] == "success", answer
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    y = spanpp_core.load(MODEL).at_scale(scale)(x)
    expected = (255 * y[0].clamp(0, 1)).permute(1, 2, 0).numpy()
    made = np.asarray(Image.open(folder / "out.png"))
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() <= 2


@pytest.fixture
def graph_with_ncnn(graph: Graph) -> Graph:
    if "chainner:ncnn:upscale_image" not in graph.schemata:
        pytest.skip("this chaiNNer's Python has no ncnn_vulkan")
    return graph


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("scale", [2, 4])
def test_exported_files_upscale(
    backend: Backend, graph_with_ncnn: Graph, tmp_path: Path, scale: int, precision
):
    pytest.importorskip("ncnn", reason="pip install 'spanpp[ncnn]' to run this")
    stored = checkpoint.read(MODEL)
    options = ExportOptions(precision)
    [file] = export(stored, "m", tmp_path, ["ncnn"], [scale], options)
    binary, param = map(str, file.paths)
    model = graph_with_ncnn.add("chainner:ncnn:load_model", i0=param, i1=binary)
    upscaled(backend, graph_with_ncnn, model, scale, tmp_path)


def test_chainner_converts_our_models_itself(
    backend: Backend, graph_with_ncnn: Graph, tmp_path: Path
):
    loaded = graph_with_ncnn.add("spanpp:pytorch:load_model", i0=MODEL)
    scaled = graph_with_ncnn.add("spanpp:pytorch:set_scale", i0=(loaded, 0), i1=2)
    model = graph_with_ncnn.add("chainner:pytorch:convert_to_ncnn", i0=(scaled, 0))
    upscaled(backend, graph_with_ncnn, model, 2, tmp_path)
