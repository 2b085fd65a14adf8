"""The convolution for CUDA, on a CPU: each instruction that a warp does together emulated."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
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

H100 = {
    "MaxSharedMemoryPerMultiprocessor": 228 * 1024,
    "MaxSharedMemoryPerBlockOptin": 227 * 1024,
    "MultiProcessorCount": 132,
}

needs_compiler = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs g++, on Linux"
)


class RawKernel:
    """CuPy's, for a CPU."""

    folder: Path
    max_dynamic_shared_size_bytes = 0

    def __init__(self, code: str, name: str, options: tuple[str, ...]) -> None:
        assert name == "convolution"
        library = self.folder / f"{abs(hash((code, options)))}.so"
        if not library.exists():
            (self.folder / "kernel.inc").write_text(
                code.replace('extern "C"', "static")
            )
            defined = [option for option in options if option.startswith("-D")]
            command = [COMPILER, "-O2", "-std=c++20", "-shared", "-fPIC"]
            command += [*defined, f"-I{self.folder}", str(EMULATOR), "-o", str(library)]
            subprocess.run(command, check=True, capture_output=True)
        self._launch = ctypes.CDLL(str(library)).launch
        self._launch.restype = ctypes.c_char_p

    def __call__(
        self, grid: tuple[int], block: tuple[int], arguments: Any, *, shared_mem: int
    ) -> None:
        assert block[0] % 128 == 0
        assert shared_mem == self.max_dynamic_shared_size_bytes
        pointers = [ctypes.c_void_p(each) for each in arguments[:5]]
        sizes = [int(each) for each in arguments[5:]]
        programs = min(*grid, 2)  # so that one makes several tiles
        failure = self._launch(*pointers, *sizes, programs, shared_mem)
        assert not failure, failure.decode()


@pytest.fixture(scope="module")
def _emulated(tmp_path_factory):
    RawKernel.folder = tmp_path_factory.mktemp("kernel")
    module = types.ModuleType("cupy")
    module.RawKernel = RawKernel
    gpu = types.SimpleNamespace(attributes=H100)
    module.cuda = types.SimpleNamespace(
        ExternalStream=lambda stream: nullcontext(), Device=lambda: gpu
    )
    stream = types.SimpleNamespace(cuda_stream=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", module)
        patch.setattr(cupy, "require", lambda *names: module)
        patch.setattr(torch.cuda, "device_of", lambda tensor: nullcontext())
        patch.setattr(torch.cuda, "current_stream", lambda device: stream)
        yield


def random_map(*shape: int, dtype: torch.dtype) -> Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    return made.to(dtype).contiguous(memory_format=torch.channels_last)


FOLLOWED: dict[cupy.Then, Callable[[Tensor, Tensor], Tensor]] = {
    "nothing": lambda o, s: o,
    "silu": lambda o, s: F.silu(o),
    "add": lambda o, s: o + s,
    "gate": lambda o, s: (o + s) * (o.sigmoid() - 0.5),
}


@needs_compiler
@pytest.mark.parametrize(
    ("shape", "dtype", "most"),
    [
        ((1, 48, 5, 7), torch.float16, 4e-3),
        ((3, 16, 17, 39), torch.float16, 4e-3),
        ((1, 32, 1, 81), torch.bfloat16, 3e-2),
    ],
)
@pytest.mark.usefixtures("_emulated")
def test_it_is_a_convolution_with_what_follows_in_any_shape(shape, dtype, most):
    channels = shape[1]
    x, skip = random_map(*shape, dtype=dtype), random_map(*shape, dtype=dtype).flip(3)
    skip = skip.contiguous(memory_format=torch.channels_last)
    weight = 0.05 * random_map(channels, channels, 3, 3, dtype=dtype)
    bias = torch.randn(channels)
    o = F.conv2d(x.float(), weight.float(), bias, padding=1)
    matrix = cupy.packed(weight)
    runs = [cupy.Convolution(channels, dtype, each) for each in cupy.SHAPES]
    for then, expected in FOLLOWED.items():
        first, *others = (run(x, matrix, bias, then, skip) for run in runs)
        for other in others:
            assert torch.equal(other, first), "how the work is divided changes a result"
        torch.testing.assert_close(
            first.float(), expected(o, skip.float()), rtol=most, atol=most, msg=then
        )


@needs_compiler
@pytest.mark.parametrize(
    ("missing", "failure"),
    [
        ("    wait_for_copies();\n", "read before it was there"),
        ("    wait_for_group(group);  // all of this", "read before it was there"),
        (
            "      wait_for_group(group);  // all have",
            "overwritten before all had read",
        ),
        ("  __syncthreads();", "read before it was there"),
    ],
)
@pytest.mark.usefixtures("_emulated")
def test_a_missing_barrier_is_found(missing, failure, monkeypatch, tmp_path):
    """What computes the right values here may still be a race on a GPU."""
    code = cupy.SOURCE.read_text("utf-8")
    assert missing in code
    monkeypatch.setattr(cupy, "SOURCE", tmp_path / "convolution.cu")
    cupy.SOURCE.write_text(code.replace(missing, "//" if "//" in missing else ""))
    x = random_map(1, 16, 50, 80, dtype=torch.float16)
    matrix = cupy.packed(random_map(16, 16, 3, 3, dtype=torch.float16))

    def run_all() -> None:
        for shape in cupy.SHAPES:
            run = cupy.Convolution(16, torch.float16, shape)
            run(x, matrix, torch.zeros(16), "silu")

    with pytest.raises(AssertionError, match=failure):
        run_all()


def test_the_fastest_shape_runs_once_there_is_memory_to_time_it(monkeypatch):
    where = (48, torch.float16, torch.device("cuda"))

    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(cupy, "shape_times", full)
    assert cupy.fastest_shape(*where) == cupy.SHAPES[0]
    times = dict(zip(cupy.SHAPES, (0.4, 0.2, 0.3)))
    monkeypatch.setattr(cupy, "shape_times", lambda *_: times)
    assert cupy.fastest_shape(*where) == cupy.SHAPES[1]


@pytest.mark.parametrize(
    ("optin", "fitting"), [(99, (0, 2)), (163, (0, 2)), (227, (0, 1, 2))]
)
@pytest.mark.usefixtures("_emulated")
def test_shapes_that_fit_a_gpu_are_timed_on_it(monkeypatch, optin, fitting):
    class Event:
        def __init__(self, enable_timing: bool) -> None: ...

        def record(self) -> None: ...

        def synchronize(self) -> None: ...

        def elapsed_time(self, other: Event) -> float:
            return 1.0

    ran: list[cupy.Shape] = []

    class Noting:
        def __init__(self, channels, dtype, shape) -> None:
            self._shape = shape

        def __call__(self, x, weight, bias, then) -> None:
            assert x.is_contiguous(memory_format=torch.channels_last)
            ran.append(self._shape)

    monkeypatch.setitem(H100, "MaxSharedMemoryPerBlockOptin", optin * 1024)
    monkeypatch.setattr(cupy, "TIMED_SIZE", (2, 3))
    monkeypatch.setattr(cupy, "Convolution", Noting)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    times = cupy.shape_times.__wrapped__(48, torch.float16, torch.device("cpu"))
    expected = [cupy.SHAPES[index] for index in fitting]
    assert list(times) == expected
    assert ran[: len(expected)] == expected


@needs_compiler
@pytest.mark.usefixtures("_emulated")
def test_a_network_of_it_is_that_of_pytorch(make, monkeypatch):
    network = make(channels=16).with_dtype(torch.float16).model
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(cupy, "_reason_against", lambda *_: None)
    kernels = "spanpp_core.backends.triton_kernels"  # it is of no use on a CPU
    monkeypatch.setitem(sys.modules, kernels, None)
    monkeypatch.delattr(kernels, raising=False)
    monkeypatch.setattr(
        cupy, "shape_times", lambda *_: dict(zip(cupy.SHAPES, (3, 2, 1)))
    )
    runner = cupy.CupyRunner(network)
    image = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        found, expected = runner.features(image), network.float().features(image)
    assert (found - expected).abs().max() < 1e-2 * expected.abs().max()


@pytest.mark.parametrize("channels", [16, 32, 48])
def test_it_fits_into_the_shared_memory_of_every_gpu_that_it_is_for(channels):
    bytes_of = [cupy.shared_bytes(channels, shape) for shape in cupy.SHAPES]
    assert bytes_of[0] <= 99 * 1024
    assert bytes_of[2] <= 99 * 1024
    assert bytes_of[1] <= H100["MaxSharedMemoryPerBlockOptin"]


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
