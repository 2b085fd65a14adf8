"""One ONNX file for every scale, against the core."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spanpp_core.export import onnx_any
from spanpp_core.export.verify import (
    SCALES,
    largest_difference,
    loaded,
    onnx_run,
    onnx_session,
)
from spanpp_core.network.scale import output_size

onnx = pytest.importorskip("onnx", reason="pip install 'spanpp[onnx]' to run this")
pytest.importorskip("onnxruntime", reason="pip install 'spanpp[onnx]' to run this")

SIZES = [(1, 1), (7, 11), (13, 4), (40, 3)]


def content(model, *, dtype=torch.float32, opset=17) -> bytes:
    proto = onnx_any.build(model, name="small", dtype=dtype, opset=opset)
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    return proto.SerializeToString()


def test_equals_the_core_at_every_scale(any_model):
    opened, core = onnx_session(content(any_model)), loaded(any_model)
    for scale in (*SCALES, 1.3333, 7 / 6, 11 / 6, 2.4, 5.25):
        run = onnx_run(opened, scale)
        difference = largest_difference(run, core, scale, sizes=SIZES, batch=3)
        assert difference < 1e-5, f"x{scale}"


def test_rounds_the_size_as_the_core_does(small_model):
    opened = onnx_session(content(small_model))
    for scale in (1.01, 1.25, 1.3, 1.5, 2.1, 2.5, 4 / 3, 7.77):
        for height, width in ((5, 10), (15, 30), (25, 50), (3, 7)):
            images = np.zeros((1, 3, height, width), np.float32)
            made = onnx_run(opened, scale)(images)
            assert made.shape[2:] == output_size(height, width, scale), f"x{scale}"


def test_runs_in_openvino(small_model):
    ov = pytest.importorskip("openvino", reason="pip install 'spanpp[openvino]'")
    network, core = ov.Core(), loaded(small_model)
    read = network.read_model(content(small_model), b"")
    model = network.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for scale in (1, 2, 8, 4 / 3, 1.5, 2.73):
        chosen = np.array([scale], np.float32)
        difference = largest_difference(
            lambda x, chosen=chosen: model({"input": x, "scale": chosen})["output"],
            core,
            scale,
            sizes=SIZES,
            batch=2,
        )
        assert difference < 1e-5, f"x{scale}"


@pytest.mark.parametrize("opset", [17, 18])
def test_half_precision_makes_the_kernel_in_float32(small_model, opset):
    file = content(small_model, dtype=torch.float16, opset=opset)
    opened, core = onnx_session(file), loaded(small_model)
    for scale in (1, 2, 5, 2.73):
        assert 0 < largest_difference(onnx_run(opened, scale), core, scale) < 2e-3
