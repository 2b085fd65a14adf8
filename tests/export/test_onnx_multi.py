"""One ONNX file for every whole scale, against the core."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spanpp_core.export import onnx_multi
from spanpp_core.export.verify import (
    largest_difference,
    loaded,
    onnx_run,
    onnx_session,
)

onnx = pytest.importorskip("onnx", reason="pip install 'spanpp[onnx]' to run this")
pytest.importorskip("onnxruntime", reason="pip install 'spanpp[onnx]' to run this")

SIZES = [(1, 1), (7, 11), (13, 4)]


def session(small_model, folder: Path, *, dtype=torch.float32, opset=17):
    proto = onnx_multi.build(small_model, name="small", dtype=dtype, opset=opset)
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    path = folder / "multi.onnx"
    path.write_bytes(proto.SerializeToString())
    return onnx_session(path)


def test_equals_the_core_at_every_whole_scale(any_model, tmp_path):
    opened, core = session(any_model, tmp_path), loaded(any_model)
    for scale in range(1, 9):
        run = onnx_run(opened, scale)
        difference = largest_difference(run, core, scale, sizes=SIZES, batch=3)
        assert difference < 1e-5, f"x{scale}"


def test_callers_that_know_of_no_scale_get_the_default(any_model, tmp_path):
    opened = session(any_model, tmp_path)
    assert [each.name for each in opened.get_inputs()] == ["input"]
    scale = any_model.hyper.default_scale
    assert largest_difference(onnx_run(opened), loaded(any_model), scale) < 1e-5


@pytest.mark.parametrize("opset", [17, 18])
def test_half_precision_makes_the_kernel_in_float32(small_model, opset, tmp_path):
    opened, core = (
        session(small_model, tmp_path, dtype=torch.float16, opset=opset),
        loaded(small_model),
    )
    for scale in (1, 2, 5):
        assert 0 < largest_difference(onnx_run(opened, scale), core, scale) < 2e-3
