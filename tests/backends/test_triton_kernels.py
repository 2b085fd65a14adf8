"""The Triton kernels, run by Triton's interpreter on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="comes with PyTorch for CUDA, on Linux")

PROGRAM = Path(__file__).with_name("triton_interpreter.py")


@pytest.fixture(scope="module")
def differences() -> dict[str, Any]:
    pytest.importorskip("triton", "3.0", reason="its interpreter came with 3.0")
    root = str(PROGRAM.parents[2])
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("silu_", 4e-3),
        ("residual_gate_", 8e-3),
        ("sum_bias_", 4e-3),
        ("add_bias", 4e-2),
    ],
)
def test_every_kernel_computes_its_formula_at_any_shape_and_layout(
    differences, name, most
):
    seen = [row for row in differences["kernels"] if row[0] == name]
    assert len(seen) == 20
    for _, case, off in seen:
        exact = "float32" in case and name != "add_bias"
        assert off <= (1e-5 if exact else most), case


def test_every_block_is_that_of_pytorch_in_float32(differences):
    blocks = differences["blocks"]["torch.float32"]["kernels"]
    assert len(blocks) == 6
    for block, off in enumerate(blocks, start=1):
        assert off <= 1e-4, f"block {block}, whose values reach 2 or more"


def test_half_precision_is_as_close_to_float32_as_in_pytorch(differences):
    for dtype, share in (("torch.float16", 1.2), ("torch.bfloat16", 3)):
        kernels, pytorch = differences["blocks"][dtype].values()
        assert len(kernels) == 6
        # on a CPU PyTorch rounds once less: it adds the bias within the convolution
        assert max(kernels) <= share * max(pytorch), dtype


def test_one_kernel_runs_behind_each_convolution_of_a_block(differences):
    """And one behind the first convolution, one that joins the last four."""
    assert differences["launches"] == 1 + 6 * 3 + 1


def test_a_launch_names_only_options_that_the_oldest_triton_knows():
    """Triton 2.1, which comes with PyTorch 2.1, refuses any other."""
    from spanpp_core.backends import triton_kernels  # noqa: PLC0415 - needs Triton

    asked: dict[str, object] = {}

    class Kernel:
        def __getitem__(self, grid):
            return lambda *tensors, **options: asked.update(options)

    triton_kernels._launch(Kernel(), (torch.empty(1, 2, 3, 4),))
    assert set(asked) - {"num_warps", "num_stages"} == {"channels", "block"}
