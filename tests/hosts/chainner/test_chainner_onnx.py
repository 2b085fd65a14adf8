"""Exported ONNX files in the nodes that chaiNNer has for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chainner_backend import MISSING, PYTHON, SOURCE, Backend, Graph
from PIL import Image

import spanpp_core
from spanpp_core import checkpoint
from spanpp_core.export import ExportOptions, export

pytestmark = pytest.mark.skipif(not (SOURCE and PYTHON), reason=MISSING)
pytest.importorskip("onnx", reason="pip install 'spanpp[onnx]' to run this")
pytest.importorskip("onnxruntime", reason="pip install 'spanpp[onnx]' to run this")

SIDES = (48, 64)
"""Multiples of 16: to those, chaiNNer pads an image before it runs an ONNX file."""


def upscaled(
    backend: Backend, graph: Graph, file: Path, pixels: np.ndarray
) -> tuple[dict[str, Any], np.ndarray]:
    """Returns what the loader says of a file, and the picture made with it."""
    Image.fromarray(pixels).save(file.with_name("in.png"))
    image = graph.add("chainner:image:load", i0=str(file.with_name("in.png")))
    model = graph.add("chainner:onnx:load_model", i0=str(file))
    result = graph.add("chainner:onnx:upscale_image", i1=(image, 0), i0=(model, 0))
    graph.add("chainner:image:save", i0=(result, 0), i1=str(file.parent), i3="out")
    answer = backend.run(graph)
    assert answer["type"] == "success", answer
    (told,) = (e for e in backend.told("node-broadcast") if e["nodeId"] == model)
    made = np.asarray(Image.open(file.with_name("out.png")))
    return told["types"]["0"]["fields"], made


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_file_reports_its_scale_and_upscales(
    backend: Backend,
    graph: Graph,
    tmp_path: Path,
    scale: int,
    precision: Any,
    opset: int,
):
    stored = checkpoint.read(spanpp_core.bundled_model())
    options = ExportOptions(precision, opset)
    (file,) = export(stored, "m", tmp_path, ["onnx"], [scale], options)
    pixels = np.random.default_rng(0).integers(0, 256, (*SIDES, 3), np.uint8)
    fields, made = upscaled(backend, graph, file.paths[0], pixels)
    assert (fields["scaleWidth"], fields["scaleHeight"]) == (scale, scale)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    y = spanpp_core.load(spanpp_core.bundled_model()).at_scale(scale)(x)
    expected = 255 * y[0].permute(1, 2, 0).numpy()
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() <= 1
