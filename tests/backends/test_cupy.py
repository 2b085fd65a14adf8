"""The convolution for CUDA, on a CPU: each instruction that a warp does together emulated."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import types
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from spanpp_core import upscale
from spanpp_core.backends import cupy, fallback, fastest, selection
from spanpp_core.network.hyperparameters import Hyperparameters
from spanpp_core.network.model import SpanPP

EMULATOR = Path(__file__).with_name("cuda_emulator.cpp")
COMPILER = shutil.which("g++")

needs_compiler = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs g++, on Linux"
)


class RawKernel:
    """CuPy's, for a CPU."""

    folder: Path
    max_dynamic_shared_size_bytes = 0

    def __init__(self, code: str, name: str, options: tuple[str, ...]) -> None:
        assert name == "convolution"
        library = self.folder / f"{abs(hash(options))}.so"
        if not library.exists():
            shared = "extern __shared__ Unit shared[];"
            assert shared in code
            code = code.replace(shared, "Unit* shared = shared_memory;")
            (self.folder / "kernel.inc").write_text(
                code.replace('extern "C"', "static")
            )
            defined = [option for option in options if option.startswith("-D")]
            command = [COMPILER, "-O2", "-std=c++20", "-shared", "-fPIC", "-pthread"]
            command += [*defined, f"-I{self.folder}", str(EMULATOR), "-o", str(library)]
            subprocess.run(command, check=True, capture_output=True)
        self._launch = ctypes.CDLL(str(library)).launch

    def __call__(
        self, grid: tuple[int], block: tuple[int], arguments: Any, *, shared_mem: int
    ) -> None:
        assert block == (32 * cupy.WARPS,)
        assert shared_mem == self.max_dynamic_shared_size_bytes
        pointers = [ctypes.c_void_p(each) for each in arguments[:5]]
        sizes = [int(each) for each in arguments[5:]]
        programs = min(*grid, 2)  # so that one makes several tiles
        assert self._launch(*pointers, *sizes, programs, shared_mem) == 0, (
            "it wrote beyond the shared memory"
        )


@pytest.fixture(scope="module")
def _emulated(tmp_path_factory):
    RawKernel.folder = tmp_path_factory.mktemp("kernel")
    module = types.ModuleType("cupy")
    module.RawKernel = RawKernel
    module.cuda = types.SimpleNamespace(ExternalStream=lambda stream: nullcontext())
    stream = types.SimpleNamespace(cuda_stream=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", module)
        patch.setattr(cupy, "require", lambda *names: module)
        patch.setattr(cupy, "_multiprocessors", lambda device: 132)
        patch.setattr(torch.cuda, "device_of", lambda tensor: nullcontext())
        patch.setattr(torch.cuda, "current_stream", lambda device: stream)
        yield


def random_map(*shape: int, dtype: torch.dtype) -> Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    return made.to(dtype).contiguous(memory_format=torch.channels_last)


@needs_compiler
@pytest.mark.parametrize(
    ("shape", "dtype", "most"),
    [
        ((1, 48, 5, 7), torch.float16, 4e-3),
        ((2, 16, 17, 19), torch.float16, 4e-3),
        ((1, 32, 1, 33), torch.bfloat16, 3e-2),
    ],
)
@pytest.mark.usefixtures("_emulated")
def test_it_is_a_convolution_with_what_follows(shape, dtype, most):
    channels = shape[1]
    x, skip = random_map(*shape, dtype=dtype), random_map(*shape, dtype=dtype).flip(3)
    skip = skip.contiguous(memory_format=torch.channels_last)
    weight = 0.05 * random_map(channels, channels, 3, 3, dtype=dtype)
    bias = torch.randn(channels)
    o = F.conv2d(x.float(), weight.float(), bias, padding=1)
    run, matrix = cupy.Convolution(channels, dtype), cupy.packed(weight)
    activated = run(x, matrix, bias).float()
    torch.testing.assert_close(activated, F.silu(o), rtol=most, atol=most)
    gated = run(x, matrix, bias, skip).float()
    expected = (o + skip.float()) * (o.sigmoid() - 0.5)
    torch.testing.assert_close(gated, expected, rtol=most, atol=most)


@needs_compiler
@pytest.mark.usefixtures("_emulated")
def test_a_network_of_it_is_that_of_pytorch(make, monkeypatch):
    network = make(channels=16).with_dtype(torch.float16).model
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(cupy, "_reason_against", lambda *_: None)
    kernels = "spanpp_core.backends.triton_kernels"  # it is of no use on a CPU
    monkeypatch.setitem(sys.modules, kernels, None)
    monkeypatch.delattr(kernels, raising=False)
    runner = cupy.CupyRunner(network)
    image = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        found, expected = runner.features(image), network.float().features(image)
    assert (found - expected).abs().max() < 1e-2 * expected.abs().max()


@pytest.mark.parametrize("channels", [16, 32, 48])
def test_it_fits_into_the_shared_memory_of_every_gpu_that_it_is_for(channels):
    assert cupy.shared_bytes(channels) <= 99 * 1024


@pytest.mark.parametrize(
    ("capability", "dtype", "hip", "installed", "expected"),
    [
        ((9, 0), torch.float16, None, {"cupy", "triton"}, "cupy"),
        ((9, 0), torch.bfloat16, None, {"cupy"}, "cupy"),
        ((9, 0), torch.float32, None, {"cupy", "triton"}, "triton"),
        ((9, 0), torch.float16, None, {"triton"}, "triton"),
        ((9, 0), torch.float16, "7.0", {"cupy", "triton"}, "triton"),
        ((8, 6), torch.float16, None, {"cupy", "triton"}, "triton"),
    ],
)
def test_auto_takes_it_where_it_was_measured_fastest(
    monkeypatch, capability, dtype, hip, installed, expected
):
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    for module in (cupy, selection):
        monkeypatch.setattr(
            module, "find_spec", lambda name: name if name in installed else None
        )
    with FakeTensorMode():
        network = SpanPP(Hyperparameters())
        for name in ("block_1.c1_r.conv_3x3_rep", "conv_cat"):
            layer = network.get_submodule(name)
            weight = torch.empty_like(layer.weight, device="cuda", dtype=dtype)
            layer.weight = torch.nn.Parameter(weight)
        assert fastest(network, "auto") == expected


def test_what_it_is_not_for_is_one_line_and_pytorch(model, caplog):
    fallback._log_once.cache_clear()
    image = torch.rand(1, 3, 9, 11)
    expected = upscale(model.with_backend("torch"), image)
    assert torch.equal(upscale(model.with_backend("cupy"), image), expected)
    [line] = caplog.messages
    assert "cupy cannot be used" in line
    assert "for CUDA devices" in line
