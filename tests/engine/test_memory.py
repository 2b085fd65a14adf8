"""Tile sizes follow the memory that is free."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from weakref import WeakValueDictionary

import psutil
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import spanpp_core
from spanpp_core.backends import prepared_weights
from spanpp_core.backends.prepared_weights import PreparedRunner
from spanpp_core.engine import memory
from spanpp_core.engine.tile_size import auto_tile, working_memory
from spanpp_core.network.hyperparameters import Hyperparameters
from spanpp_core.network.model import SpanPP

CPU = torch.device("cpu")
FREE_MEMORY = "spanpp_core.engine.prepared_run.free_memory"
"""What a run asks."""


def test_free_memory_is_what_the_system_says():
    system = psutil.virtual_memory()
    taken = torch.ones(2**26, dtype=torch.uint8)  # other programs take and give as well
    assert memory.free_memory(CPU) <= system.total - taken.nbytes
    assert memory.free_memory(CPU) == pytest.approx(
        min(psutil.virtual_memory().available, memory._free_in_container()), rel=0.2
    )


@pytest.mark.parametrize(
    ("limit", "free"), [(None, 10**15), ("max", 10**15), ("5000", 4000), ("500", 0)]
)
def test_a_container_limits_it(tmp_path, monkeypatch, limit, free):
    memory_of_machine = SimpleNamespace(available=10**15)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory_of_machine)
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    if limit is not None:
        (tmp_path / "memory.current").write_text("1000\n")
        (tmp_path / "memory.max").write_text(f"{limit}\n")
    assert memory.free_memory(CPU) == free


@pytest.mark.parametrize(
    ("limit", "used", "detail"),
    [
        ("memory.max", "memory.current", "inactive_file 700"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "inactive_file 1\ntotal_inactive_file 700",
        ),
    ],
)
def test_files_that_were_read_take_no_memory_of_a_container(
    tmp_path, monkeypatch, limit, used, detail
):
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    for name, text in ((limit, "5000"), (used, "1000")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    (tmp_path / limit).with_name("memory.stat").write_text(f"anon 200\n{detail}\n")
    assert memory.free_memory(CPU) == 4700


def test_what_pytorch_keeps_on_a_gpu_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert memory.free_memory(torch.device("cuda", 0)) == 1500


@pytest.mark.parametrize("scale", [1, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tiles_fit_into_half_of_what_is_free(monkeypatch, scale, dtype):
    hyper = Hyperparameters()
    for free in (10**8, 10**9):
        monkeypatch.setattr(memory, "free_memory", lambda device, free=free: free)
        pixels = memory.pixels_that_fit(hyper, scale, dtype, CPU)
        assert 0 < pixels <= memory.CPU_TILE_PIXELS
        assert memory.working_bytes(hyper, scale, dtype, pixels) <= free / 2


def test_large_maps_are_returned_at_once():
    """Where the estimate falls, more pixels may fit; never are they too many."""
    hyper = Hyperparameters()
    edge = -(-memory.HEAP_BYTES // (4 * hyper.channels))
    below, above = (
        memory.working_bytes(hyper, 2, torch.float32, pixels)
        for pixels in (edge - 1, edge)
    )
    assert above < below
    assert memory.working_bytes(hyper, 2, torch.float32, edge, pooled=True) > above


def test_little_memory_means_small_tiles(model, monkeypatch):
    seen = []
    region = SpanPP.region

    def watched(self, x, scale, window):
        seen.append(x.shape[0] * x.shape[2] * x.shape[3])
        return region(self, x, scale, window)

    monkeypatch.setattr(SpanPP, "region", watched)
    image = torch.rand(1, 3, 150, 150)
    expected = spanpp_core.upscale(model, image)
    assert seen == [150 * 150]
    seen.clear()
    needed = memory.working_bytes(model.model.hyper, 2, torch.float32, 10_000)
    monkeypatch.setattr(FREE_MEMORY, lambda device: 2 * needed)
    result = spanpp_core.upscale(model, image)
    assert max(seen) <= 10_000
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 1.5])
def test_a_limit_on_memory_is_kept_to(model, monkeypatch, scale):
    view = model.at_scale(scale)
    image = torch.rand(1, 3, 150, 150)
    size = spanpp_core.Size(factor=scale)
    expected = spanpp_core.upscale(view, image, size=size)
    seen = []
    region = SpanPP.region

    def watched(self, x, grid, window):
        seen.append((x.shape[0] * x.shape[2] * x.shape[3], self.scale))
        return region(self, x, grid, window)

    monkeypatch.setattr(SpanPP, "region", watched)
    hyper = model.model.hyper
    limit = memory.working_bytes(hyper, 2, torch.float32, 90**2)
    result = spanpp_core.upscale(view, image, size=size, memory=limit)
    assert len(seen) > 1
    for pixels, at in seen:
        assert memory.working_bytes(hyper, at, torch.float32, pixels) <= limit
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


# bytes per input pixel, counted on fake CUDA tensors while a second job runs and the
# results of the first one leave; with 48 channels
COUNTED = {
    torch.float16: {1: 511, 2: 547, 4: 691, 8: 1932},
    torch.float32: {1: 998, 2: 1034, 4: 1178, 8: 2509},
}


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("dtype", COUNTED)
def test_what_leaves_a_gpu_is_counted(scale, dtype):
    estimate = memory.working_bytes(Hyperparameters(), scale, dtype, 10**6, on_gpu=True)
    counted = COUNTED[dtype][scale] * 10**6
    assert counted <= estimate < 1.6 * counted


class Peak(TorchDispatchMode):
    """Counts the bytes of the tensors that are there at once, each storage once."""

    def __init__(self) -> None:
        super().__init__()
        self._made: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
        self._operators = count()
        self.bytes = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        made = operator(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self._made[next(self._operators)] = made
        storages = [tensor.untyped_storage() for tensor in self._made.values()]
        sizes = {storage._cdata: storage.nbytes() for storage in storages}
        self.bytes = max(self.bytes, sum(sizes.values()))
        return made


@pytest.mark.parametrize(
    ("backend", "width"), [("torch", 64), ("triton", 64), ("torch", 48)]
)
def test_what_maps_are_padded_with_on_a_gpu_is_counted(monkeypatch, backend, width):
    """The padding depends on the GPU and is in the estimate before the model is there."""
    monkeypatch.setattr(prepared_weights, "fastest_width", lambda *_: width)
    model = spanpp_core.load(SpanPP(Hyperparameters()).state_dict())
    gpu, half = torch.device("cuda"), torch.float16
    model = model.at_scale(1).with_backend(backend)
    estimate = working_memory(model, 300, 400, dtype=half, device=gpu)
    with FakeTensorMode(), torch.no_grad():
        network = SpanPP(Hyperparameters())
        weights = {k: t.to(gpu, half) for k, t in network.state_dict().items()}
        network.load_state_dict(weights, assign=True)
        runner = PreparedRunner(network)
        image = torch.empty(1, 3, 300, 400, device=gpu)
        with Peak() as peak:
            runner.features(image)
    assert peak.bytes <= estimate < 1.2 * peak.bytes


def test_tiles_of_wider_maps_are_smaller(monkeypatch):
    model = spanpp_core.load(SpanPP(Hyperparameters()).state_dict())
    model = model.at_scale(1).with_backend("torch")
    edges: list[int] = []
    for width in (48, 64):
        monkeypatch.setattr(prepared_weights, "fastest_width", lambda *_, w=width: w)
        edges.append(auto_tile(model, free=2 * 10**8))
    assert edges[0] > edges[1]


def test_what_openvino_keeps_while_it_works_is_counted():
    model = spanpp_core.load(SpanPP(Hyperparameters()).state_dict()).at_scale(4)
    plain, pooled = (model.with_backend(name) for name in ("torch", "openvino"))
    assert auto_tile(pooled, free=4 * 10**8) < auto_tile(plain, free=4 * 10**8)
    taken = [working_memory(each, 500, 500) for each in (plain, pooled)]
    assert taken[0] < taken[1]


def test_a_host_may_know_better_what_is_free(model, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**6)
    short = auto_tile(model)
    assert auto_tile(model, free=10**8) > short
    assert auto_tile(model, 10**6, free=10**8) < 3 * short


def test_a_run_takes_the_tile_that_fits_into_what_a_host_counts(model, monkeypatch):
    monkeypatch.setattr(FREE_MEMORY, lambda device: 10**6)
    run = spanpp_core.prepare(model, (3000, 3000))
    assert run.with_free_memory(10**8).tile > run.tile
    assert run.with_free_memory(None) is run
    asked = spanpp_core.prepare(model, (3000, 3000), tile=77)
    assert asked.with_free_memory(10**8).tile == 77
    image = torch.rand(1, 3, 150, 150)
    small = spanpp_core.prepare(model, (150, 150))
    torch.testing.assert_close(
        small.with_free_memory(10**8).run(image), small.run(image), rtol=1e-4, atol=1e-5
    )


def test_what_an_intel_gpu_has_is_not_main_memory(monkeypatch):
    """Many refuse to say what is free, and where memory runs out the device is lost."""
    gpu = SimpleNamespace(total_memory=8 * 2**30)
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda device: gpu)
    monkeypatch.setattr(torch.xpu, "memory_allocated", lambda device: 2**30)
    assert memory.free_memory(torch.device("xpu")) == 7 * 2**30


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_every_gpu_is_asked_to_return_what_is_kept(monkeypatch, kind):
    asked = []
    monkeypatch.setattr(getattr(torch, kind), "empty_cache", lambda: asked.append(kind))
    memory.empty_cache(torch.device(kind))
    memory.empty_cache(CPU)
    assert asked == [kind]
