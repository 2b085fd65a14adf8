"""Steps as CUDA graphs: what a step may do to become one, and what if it cannot."""

from __future__ import annotations

from contextlib import nullcontext
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from tiny import TINY
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from spanpp_core.network.branches import SpanPPBranches
from spanpp_core.network.trainable import SpanPPPlain
from spanpp_core.training.capture import WARM_UP, CapturedStep
from spanpp_core.training.losses import LOSSES
from spanpp_core.training.muon import Muon, split
from spanpp_core.training.patches import Batch

loop = pytest.importorskip("spanpp_core.training.loop")

META = torch.device("meta")
"""A device that computes nothing: to read from it is an error, as in a capture."""

FROM_PYTHON = {
    torch.tensor,
    torch.as_tensor,
    torch.from_numpy,
    Tensor.new_tensor,
    Tensor.pin_memory,
}


class OnDeviceOnly(TorchDispatchMode):
    """Refuses whatever has to do with main memory."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for each in tree_flatten((args, kwargs, made))[0]:
            assert not (isinstance(each, Tensor) and each.device != META), func
        self.operations.add(func._schema.name)
        return made


class NothingFromPython(TorchFunctionMode):
    """Refuses tensors made of numbers in Python: they are copied to the device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in FROM_PYTHON, func
        index = args[1] if func is Tensor.__getitem__ else ()
        parts = index if isinstance(index, tuple) else (index,)
        assert not any(isinstance(part, list) for part in parts), index
        return func(*args, **(kwargs or {}))


def batch_on(device: torch.device, scale: Fraction | int, patch: int = 12) -> Batch:
    sides = (patch, int(patch * scale))
    images = [torch.zeros(2, 3, s, s, dtype=torch.uint8, device=device) for s in sides]
    return Batch(*images, float(scale))


def step_of(network, loss, colours=0.0):
    """A step of the loop but for Adam, which is PyTorch's own."""
    device = network.conv_cat.weight.device
    rate = torch.tensor(1e-3, device=device)
    muon = Muon(split(network)[0], rate, weight_decay=0.02)
    turn = torch.tensor(0, device=device)
    fabric = SimpleNamespace(device=device, backward=Tensor.backward)
    return loop._step(network, network, loss, colours, turn, [muon], 1.0, fabric)


@pytest.mark.parametrize("scale", [1, 2, Fraction(3, 2), Fraction(97, 72)], ids=str)
@pytest.mark.parametrize(
    ("form", "loss", "colours"),
    [
        (SpanPPBranches, "l1", 0.0),
        (SpanPPPlain, "l1+fft", 6.0),
        (SpanPPPlain, "charbonnier", 0.0),
        (SpanPPPlain, "mse", 0.0),
    ],
)
def test_a_step_copies_nothing_from_main_memory_and_reads_nothing_back(
    form, loss, colours, scale
):
    """A capture may do neither. The first step makes the tables that are kept."""
    do = step_of(form(TINY).to(META), LOSSES[loss], colours)
    batch = batch_on(META, scale, patch=72 if scale == Fraction(97, 72) else 12)
    do(batch)
    with OnDeviceOnly() as seen, NothingFromPython():
        do(batch)
    assert "aten::convolution_backward" in seen.operations


@pytest.mark.parametrize(
    "bad",
    [
        lambda made: made.sum() * made.detach().mean().item(),
        lambda made: made[made > 0].mean(),
        lambda made: (made * torch.tensor([0.5], device=META)).mean(),
        lambda made: (made * torch.ones(1).to(META)).mean(),
        lambda made: made[[0, 0]].mean(),
    ],
)
def test_what_a_step_may_not_do_is_seen(bad):
    do = step_of(SpanPPPlain(TINY).to(META), lambda made, original: bad(made))
    with pytest.raises((RuntimeError, AssertionError)), OnDeviceOnly():  # noqa: SIM117
        with NothingFromPython():
            do(batch_on(META, 2))


class Graph:
    """A CUDA graph on a machine without a GPU: it counts, and ends as it is told to."""

    replayed = 0

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    def capture_begin(self, **_) -> None: ...

    def capture_end(self) -> None:
        if self.broken:
            raise RuntimeError("operation failed due to a previous error")

    def replay(self) -> None:
        Graph.replayed += 1


@pytest.fixture
def cuda(monkeypatch):
    """PyTorch's interface to graphs, without a GPU."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(Graph, "replayed", 0)


def test_each_scale_is_captured_after_its_warm_up_and_replayed_from_then_on(cuda):
    calls = []

    def step(batch):
        calls.append(batch.scale)
        return torch.ones(()), torch.ones(())

    run, cpu = CapturedStep(step, torch.device("cpu")), torch.device("cpu")
    for _ in range(5):
        for scale in (1, 2):
            run(batch_on(cpu, scale))
    assert calls == [1, 2] * (WARM_UP + 1)  # once of them while it is captured
    assert Graph.replayed == 2 * (5 - WARM_UP)


def test_steps_that_cannot_be_captured_run_one_by_one_and_the_log_says_why_once(
    cuda, monkeypatch, caplog
):
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: Graph(broken=True))
    done = []

    def step(batch):
        done.append(batch.scale)
        if done.count(batch.scale) == WARM_UP + 1 and len(set(done)) == 1:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        return torch.ones(()), torch.ones(())

    run, cpu = CapturedStep(step, torch.device("cpu")), torch.device("cpu")
    for scale in [1] * 5 + [2] * 5:
        value, _ = run(batch_on(cpu, scale))
        assert value == 1
    assert done == [1] * 6 + [2] * 5  # the one that failed was run again
    assert Graph.replayed == 0
    [line] = caplog.messages
    assert line.endswith("operation not permitted when stream is capturing")


def test_a_step_is_exact_float32_on_cuda(monkeypatch):
    """Else Ampere GPUs and later round pixels and gradients to the 10 bits of TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    network, allowed = SpanPPPlain(TINY), []

    def model(low: Tensor, scale: float) -> Tensor:
        allowed.append(torch.backends.cudnn.allow_tf32)
        return network(low, scale)

    def backward(loss: Tensor) -> None:
        allowed.append(torch.backends.cudnn.allow_tf32)
        loss.backward()

    unit = batch_on(torch.device("cpu"), 2).unit(torch.device("cpu"))
    batch = SimpleNamespace(scale=2, unit=lambda device: unit)
    gpu = SimpleNamespace(device=torch.device("cuda", 0), backward=backward)
    turn = torch.tensor(0)
    loop._step(network, model, LOSSES["l1"], 0.0, turn, [], 1.0, gpu)(batch)
    assert allowed == [False, False]
    assert torch.backends.cudnn.allow_tf32


def test_a_step_that_fails_leaves_no_gradients(monkeypatch):
    """Those of a failed capture were never computed."""
    network = SpanPPPlain(TINY)
    do = step_of(network, LOSSES["l1"])
    monkeypatch.setattr(Muon, "step", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        do(batch_on(torch.device("cpu"), 2))
    assert all(weight.grad is None for weight in split(network)[0])
