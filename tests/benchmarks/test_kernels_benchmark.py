"""The GPU kernels build for GPUs that are not here."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from spanpp_core.backends.convolution import SHAPES, Kind

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kernels.py"


@pytest.fixture(scope="module")
def kernels() -> dict:
    pytest.importorskip("triton", reason="comes with PyTorch for CUDA, on Linux")
    pytest.importorskip("cuda.bindings.nvrtc", reason="comes with it, too")
    if not SCRIPT.is_file():
        pytest.skip("the benchmarks are in the repository alone")
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("capability", [80, 86, 120])
def test_the_convolution_of_the_blocks_spills_nothing_on_most_gpus(kernels, capability):
    kind, shared = Kind(48, 48, 3), kernels["SHARED_KIB"][capability] + 1
    shape = kind.on_gpu(SHAPES[0], shared * 1024)
    made = kernels["compile_convolution"](kind, torch.float16, shape, capability)
    assert made.registers > 0
    assert made.spilled == 0


def test_what_nvrtc_says_is_told(kernels):
    with pytest.raises(RuntimeError, match="sm_80 or higher"):
        kernels["compile_convolution"](Kind(16, 16, 3), torch.float16, SHAPES[0], 75)


def test_triton_kernels_build_for_the_newest_gpus(kernels):
    made = kernels["compile_pointwise"](
        "bias_activation_kernel", 120, "fp16", channels_last=True
    )
    assert made.spilled == 0
    assert made.wide_loads == made.wide_stores == 1
