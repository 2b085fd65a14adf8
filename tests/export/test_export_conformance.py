"""Exported files against outputs of the public implementation, without our core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny import DATA

from spanpp_core import checkpoint
from spanpp_core.export import onnx, onnx_multi
from spanpp_core.export.verify import onnx_run, onnx_session

pytest.importorskip("onnx", reason="pip install 'spanpp[onnx]' to run this")
pytest.importorskip("onnxruntime", reason="pip install 'spanpp[onnx]' to run this")


@pytest.mark.parametrize(
    "name",
    ["c16_k3_s1234.safetensors", "c12_k5_s2346.safetensors", "c16_k3_stale_ema.pth"],
)
def test_equals_the_public_outputs(name: str, tmp_path: Path):
    model = checkpoint.read(DATA / name)
    common = {"name": "m", "dtype": torch.float32, "opset": 17}
    path = tmp_path / "multi.onnx"
    path.write_bytes(onnx_multi.build(model, **common).SerializeToString())
    multi = onnx_session(path)
    stored = load_file(DATA / f"{Path(name).stem}.io.safetensors")
    images = stored.pop("input")
    for key, expected in stored.items():
        scale = int(key.removeprefix("output_x"))
        path = tmp_path / f"{scale}.onnx"
        proto = onnx.build(model, scale, **common, size=None)
        path.write_bytes(proto.SerializeToString())
        for run in (onnx_run(onnx_session(path)), onnx_run(multi, scale)):
            worst = np.abs(run(images) - expected).max() / np.abs(expected).max()
            assert worst < 1e-5, f"x{scale}"
