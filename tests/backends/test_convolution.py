"""The convolution for CUDA, on a CPU: each instruction that a warp does together emulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cuda_emulator import H100, needs_compiler
from on_gpu import runs_cupy
from torch import Tensor

from spanpp_core.backends import convolution
from spanpp_core.backends.convolution import (
    SHAPES,
    Convolution,
    Kind,
    Shape,
    Then,
    packed,
)
from spanpp_core.engine.precision import exact_float32


def random_map(*shape: int, dtype: torch.dtype) -> Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    return made.to(dtype).contiguous(memory_format=torch.channels_last)


FOLLOWED: dict[Then, Callable[[Tensor, Tensor], Tensor]] = {
    "nothing": lambda o, s: o,
    "silu": lambda o, s: F.silu(o),
    "add": lambda o, s: o + s,
    "gate": lambda o, s: (o + s) * (o.sigmoid() - 0.5),
}


@needs_compiler
@pytest.mark.parametrize(
    ("kind", "size", "dtype", "most"),
    [
        ((48, 48, 3), (1, 5, 7), torch.float16, 4e-3),
        ((16, 16, 3), (3, 17, 39), torch.float16, 4e-3),
        ((32, 32, 3), (1, 1, 81), torch.bfloat16, 3e-2),
        ((16, 48, 3), (2, 13, 18), torch.float16, 4e-3),
        ((48, 48, 1), (1, 13, 34), torch.float16, 4e-3),
        ((16, 32, 3), (2, 33, 1), torch.bfloat16, 3e-2),
        ((32, 32, 1), (1, 1, 1), torch.float16, 4e-3),
    ],
)
@pytest.mark.usefixtures("_cuda_emulated")
def test_it_is_a_convolution_with_what_follows_in_any_shape(kind, size, dtype, most):
    inputs, outputs, side = kind
    n, height, width = size
    x = random_map(n, inputs, height, width, dtype=dtype)
    skip = random_map(n, outputs, height, width, dtype=dtype)
    weight = 0.05 * random_map(outputs, inputs, side, side, dtype=dtype)
    bias = torch.randn(outputs)
    o = F.conv2d(x.float(), weight.float(), bias, padding=side // 2)
    matrix = packed(weight)
    runs = [Convolution(Kind(*kind), dtype, shape) for shape in SHAPES]
    for then, expected in FOLLOWED.items():
        first, *others = (run(x, matrix, bias, then, skip) for run in runs)
        for other in others:
            assert torch.equal(other, first), "how the work is divided changes a result"
        torch.testing.assert_close(
            first.float(), expected(o, skip.float()), rtol=most, atol=most, msg=then
        )


@needs_compiler
@pytest.mark.parametrize(
    ("part", "by", "failure"),
    [
        ("    wait_for_copies();\n    wait", "    wait", "read before it was there"),
        ("wait_for_group(group);  // all of", "// all of", "read before it was there"),
        (
            "wait_for_group(group);  // all have",
            "// all have",
            "before all had read it",
        ),
        ("  __syncthreads();", "", "read before it was there"),
        ("group * STAGES *", "(group + 1) * STAGES *", "outside of the shared memory"),
        ("inside && row >= 0 &&", "inside &&", "outside of the tensors"),
        ("then >= ADD && r < rows &&", "then >= ADD &&", "outside of the tensors"),
        ("      if (r < rows &&", "      if (", "outside of the tensors"),
        ("channel + i % 2", "channel + i", "outside of the tensors"),
        ("(pixel + j) + quarter);", "(&pixel->y) + quarter);", "multiple of its size"),
        ("out + (r * width + 8 * half) *", "out + r * width *", "written twice"),
    ],
)
@pytest.mark.usefixtures("_cuda_emulated")
def test_a_wrong_address_or_a_missing_barrier_is_found(
    part, by, failure, monkeypatch, tmp_path
):
    """What computes the right values here may end the whole program on a GPU."""
    code = convolution.SOURCE.read_text("utf-8")
    assert code.count(part) == 1
    monkeypatch.setattr(convolution, "SOURCE", tmp_path / "convolution.cu")
    convolution.SOURCE.write_text(code.replace(part, by))
    x = random_map(1, 16, 50, 80, dtype=torch.float16)
    matrix = packed(random_map(16, 16, 3, 3, dtype=torch.float16))

    def run_all() -> None:
        for shape in SHAPES:
            run = Convolution(Kind(16, 16, 3), torch.float16, shape)
            run(x, matrix, torch.zeros(16), "gate", x)

    with pytest.raises(AssertionError, match=failure):
        run_all()


@pytest.mark.parametrize(
    ("size", "programs"), [((1, 1, 1), 1), ((2, 31, 33), 12), ((1, 2160, 3840), 396)]
)
@pytest.mark.usefixtures("_cuda_emulated")
def test_a_launch_is_for_the_device_and_the_stream_of_its_map(
    size, programs, monkeypatch
):
    """Another device may be the current one; 396 programs are what an H100 has room for."""
    noted: list[object] = []

    @contextmanager
    def within(what: object) -> Iterator[None]:
        noted.append(what)
        yield
        noted.pop()

    class Kernel:
        def __init__(self, *_: object) -> None: ...

        def __call__(self, grid, block, arguments, *, shared_mem) -> None:
            assert noted == [x.device, "stream"]
            assert (grid, block) == ((programs,), (128,))
            assert [type(each) for each in arguments] == [int] * 5 + [np.int32] * 6

    monkeypatch.setattr(convolution.require(), "RawKernel", Kernel)
    monkeypatch.setattr(torch.cuda, "device_of", lambda of: within(of.device))
    monkeypatch.setattr(convolution, "on_stream", lambda *_: within("stream"))
    n, height, width = size
    x = torch.empty((n, height, width, 16), dtype=torch.float16).movedim(-1, 1)
    out = Convolution(Kind(16, 48, 3), x.dtype, SHAPES[0])(x, x, x, "silu")
    assert out.shape == (n, 48, height, width)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_the_fastest_shape_runs_once_there_is_memory_to_time_it(monkeypatch):
    where = (48, torch.float16, torch.device("cuda"))

    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(convolution, "shape_times", full)
    assert convolution.fastest_shape(*where) == SHAPES[0]
    times = dict(zip(SHAPES, (0.4, 0.2, 0.3)))
    monkeypatch.setattr(convolution, "shape_times", lambda *_: times)
    assert convolution.fastest_shape(*where) == SHAPES[1]


@pytest.mark.parametrize("channels", [16, 32, 48])
def test_shapes_fit_into_the_shared_memory_that_gpus_have(channels):
    bytes_of = [Kind(channels, channels, 3).shared_bytes(shape) for shape in SHAPES]
    assert max(bytes_of[0], bytes_of[-1]) <= 99 * 1024
    assert max(bytes_of) <= H100["MaxSharedMemoryPerBlockOptin"]


@pytest.mark.parametrize(("optin", "programs"), [(99, 1), (163, 2), (227, 3)])
def test_registers_are_divided_among_the_programs_that_fit_a_gpu(optin, programs):
    kind = Kind(48, 48, 3)
    shape = kind.on_gpu(SHAPES[0], (optin + 1) * 1024)
    assert shape == SHAPES[0]._replace(programs=programs)
    assert f"-DPROGRAMS={programs}" in kind.options(torch.float16, shape)


def test_cupy_launches_in_a_stream_of_pytorch_without_a_warning():
    """CuPy 13 has one way, and CuPy 14 warns of it at each launch."""
    entered: list[int] = []
    older = SimpleNamespace(Stream=SimpleNamespace(), ExternalStream=entered.append)
    newer = SimpleNamespace(
        Stream=SimpleNamespace(
            from_external=lambda stream: entered.append(stream.__cuda_stream__()[1])
        )
    )
    for cuda in (older, newer):
        convolution.on_stream(SimpleNamespace(cuda=cuda), 77)
    assert entered == [77, 77]


class Event:
    """A CUDA event, where there is no GPU."""

    def __init__(self, enable_timing: bool) -> None: ...

    def record(self) -> None: ...

    def synchronize(self) -> None: ...

    def elapsed_time(self, other: Event) -> float:
        return 1.0


@pytest.fixture
def ran(monkeypatch, _cuda_emulated) -> Iterator[list[Shape]]:
    """The shapes that were run, with no kernel."""
    noted: list[Shape] = []

    class Noting:
        def __init__(self, kind, dtype, shape) -> None:
            self._shape = shape

        def __call__(self, x, weight, bias, then) -> Tensor:
            assert x.is_contiguous(memory_format=torch.channels_last)
            assert bias.dtype == torch.float32
            noted.append(self._shape)
            return torch.zeros_like(x)

    monkeypatch.setattr(convolution, "TIMED_SIZE", (2, 3))
    monkeypatch.setattr(convolution, "Convolution", Noting)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    torch.set_default_dtype(torch.float64)  # as the program around may have done
    yield noted
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("optin", "fitting"), [(99, (0, 3)), (163, (0, 2, 3)), (227, (0, 1, 2))]
)
def test_shapes_that_fit_a_gpu_are_timed_on_it(monkeypatch, optin, fitting, ran):
    monkeypatch.setitem(H100, "MaxSharedMemoryPerBlockOptin", optin * 1024)
    times = convolution.shape_times.__wrapped__(48, torch.float16, torch.device("cpu"))
    expected = [SHAPES[index] for index in fitting]
    assert list(times) == expected
    assert ran[: len(expected)] == expected


def test_a_shape_with_other_results_is_an_error(monkeypatch, ran):
    """As a race on a new GPU would show."""
    monkeypatch.setattr(torch, "zeros_like", lambda x: torch.full_like(x, len(ran)))
    with pytest.raises(RuntimeError, match="depend on how the work is divided"):
        convolution.shape_times.__wrapped__(48, torch.float16, torch.device("cpu"))


needs_kernel = pytest.mark.skipif(
    not runs_cupy(), reason="needs CuPy and a GPU that the kernel is for"
)


@pytest.mark.gpu
@needs_kernel
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "kind",
    [(48, 48, 3), (16, 48, 3), (48, 48, 1), (32, 32, 3), (16, 16, 3)],
    ids=str,
)
def test_on_a_gpu_large_maps_are_those_of_pytorch(kind, dtype, shape):
    """Every group of warps makes many tiles, and the map ends within one."""
    kind = Kind(*kind)
    gpu = pytest.importorskip("cupy").cuda.Device().attributes
    if kind.shared_bytes(shape) > gpu["MaxSharedMemoryPerBlockOptin"]:
        pytest.skip("this GPU has less shared memory")
    inputs, outputs, side = kind
    x = random_map(2, inputs, 541, 963, dtype=dtype).cuda()
    skip = random_map(2, outputs, 541, 963, dtype=dtype).cuda()
    weight = (0.05 * random_map(outputs, inputs, side, side, dtype=dtype)).cuda()
    bias = torch.randn(outputs, device="cuda")
    with exact_float32(x.device):
        o = F.conv2d(x.float(), weight.float(), bias, padding=side // 2)
    run = Convolution(kind, dtype, shape)
    most = 4e-3 if dtype == torch.float16 else 3e-2
    for then, expected in FOLLOWED.items():
        made = run(x, packed(weight), bias, then, skip).float()
        wanted = expected(o, skip.float())
        torch.testing.assert_close(made, wanted, rtol=most, atol=most, msg=then)


@pytest.mark.gpu
@needs_kernel
def test_on_a_gpu_it_runs_in_the_stream_of_pytorch():
    """In another one it would read the map before it is there."""
    x = random_map(1, 16, 270, 480, dtype=torch.float16).cuda()
    matrix = packed(random_map(16, 16, 3, 3, dtype=torch.float16).cuda())
    run = Convolution(Kind(16, 16, 3), torch.float16, SHAPES[0])
    bias = torch.zeros(16, device="cuda")
    expected = run(x, matrix, bias, "silu")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        late = torch.zeros_like(x)
        torch.cuda._sleep(10**8)
        found = run(late.copy_(x), matrix, bias, "silu")
        torch.cuda.current_stream().synchronize()
    assert torch.equal(found, expected)
