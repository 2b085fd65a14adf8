"""Exported files against outputs of the public implementation, without our core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny import DATA

from spanpp_core import checkpoint
from spanpp_core.export import onnx, onnx_any
from spanpp_core.export.verify import onnx_run, onnx_session

pytest.importorskip("onnx", reason="pip install 'spanpp[onnx]' to run this")
pytest.importorskip("onnxruntime", reason="pip install 'spanpp[onnx]' to run this")


@pytest.mark.parametrize(
    "name",
    ["c16_k3_s1234.safetensors", "c12_k5_s2346.safetensors", "c16_k3_stale_ema.pth"],
)
def test_equals_the_public_outputs(name: str):
    model = checkpoint.read(DATA / name)
    common = {"name": "m", "dtype": torch.float32, "opset": 17}
    any_scale = onnx_session(onnx_any.build(model, **common).SerializeToString())
    stored = load_file(DATA / f"{Path(name).stem}.io.safetensors")
    images = stored.pop("input")
    for key, expected in stored.items():
        scale = int(key.removeprefix("output_x"))
        one = onnx.build(model, scale, **common, size=None).SerializeToString()
        for run in (onnx_run(onnx_session(one)), onnx_run(any_scale, scale)):
            worst = np.abs(run(images) - expected).max() / np.abs(expected).max()
            assert worst < 1e-5, f"x{scale}"
