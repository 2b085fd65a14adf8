"""The network with its weights prepared: the same features, by convolutions and little else."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny import TINY
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from spanpp_core import SpanPPDescriptor, upscale
from spanpp_core.backends import Backends, prepared_weights, selection
from spanpp_core.backends.prepared_weights import PreparedRunner
from spanpp_core.network.model import SpanPP


class Operators(TorchDispatchMode):
    """Notes what is asked of the device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.seen.append(operator._overloadpacket.__name__)
        return operator(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _timed_anew():
    prepared_weights._is_faster.cache_clear()
    yield
    prepared_weights._is_faster.cache_clear()


@pytest.fixture
def image() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 21, 34, generator=generator).contiguous(
        memory_format=torch.channels_last
    )


@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)]
)
def test_the_features_are_those_of_the_network(
    model: SpanPPDescriptor, image, dtype, most
):
    network = model.with_dtype(dtype).model
    with torch.no_grad():
        expected = network.features(image)
        found = PreparedRunner(network).features(image)
    assert found.dtype == expected.dtype
    off = (found.float() - expected.float()).abs().max() / expected.abs().max()
    assert off < most


def test_maps_may_be_wider_with_zeros(model, image, monkeypatch):
    """Where a GPU has a better kernel for them."""
    with torch.no_grad():
        expected = model.model.features(image)
        monkeypatch.setattr(prepared_weights, "fastest_width", lambda *_: 16)
        runner = PreparedRunner(model.model)
        f0 = runner.features(image)
        b, _ = runner._block(0, torch.rand(1, 16, 5, 7))
    assert b.shape[1] == 16, "wider than the model's 4"
    torch.testing.assert_close(f0, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "device", "dtype", "times", "expected"),
    [
        (48, "cuda", torch.float16, {48: 0.82, 64: 0.34}, 64),
        (48, "cuda", torch.bfloat16, {48: 0.38, 64: 0.34}, 48),
        (48, "cuda", torch.float32, {}, 48),
        (48, "cpu", torch.float16, {}, 48),
        (64, "cuda", torch.float16, {}, 64),
        (16, "cuda", torch.float16, {}, 16),
    ],
)
def test_they_are_wider_where_that_is_faster(
    monkeypatch, channels, device, dtype, times, expected
):
    monkeypatch.setattr(
        prepared_weights, "convolution_time", lambda count, *_: times[count]
    )
    found = prepared_weights.fastest_width(channels, dtype, torch.device(device))
    assert found == expected


def test_they_are_not_wider_while_there_is_no_memory_to_time_it(monkeypatch):
    times = {48: 0.82, 64: 0.34}
    where = (48, torch.float16, torch.device("cuda"))

    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(prepared_weights, "convolution_time", full)
    assert prepared_weights.fastest_width(*where) == 48
    monkeypatch.setattr(
        prepared_weights, "convolution_time", lambda count, *_: times[count]
    )
    assert prepared_weights.fastest_width(*where) == 64


def test_no_weight_is_laid_out_or_composed_in_a_pass(model, image, monkeypatch):
    """A convolution lays out a weight of another layout than the image's by itself."""
    runner, conv2d = PreparedRunner(model.model), F.conv2d

    def laid_out(x: Tensor, weight: Tensor, **how: int) -> Tensor:
        assert weight.is_contiguous(memory_format=torch.channels_last)
        return conv2d(x, weight, **how)

    monkeypatch.setattr(F, "conv2d", laid_out)
    with torch.no_grad(), Operators() as operators:
        runner.features(image)
    assert operators.seen.count("convolution") == 1 + 6 * 3 + 4
    expected = {"convolution", "view", "add_", "silu_", "sigmoid", "sub_", "mul_"}
    assert set(operators.seen) == expected


def test_plain_pytorch_runs_prepared_weights_on_cuda_only(model, image, monkeypatch):
    made: list[SpanPP] = []

    class Noting(PreparedRunner):
        def __init__(self, network: SpanPP) -> None:
            made.append(network)

    monkeypatch.setitem(selection.RUNNERS, "torch", Noting)
    for key in ("weights_version", "weights_content"):
        monkeypatch.setattr(selection, key, lambda network: 0)
    upscale(model.with_backend("torch"), image)
    assert not made
    with FakeTensorMode(allow_non_fake_inputs=True):
        network = SpanPP(TINY)
        network.conv_cat.weight = torch.nn.Parameter(
            torch.empty(TINY.channels, 4 * TINY.channels, 1, 1, device="cuda")
        )
        Backends().region(network, "torch", 1)
    assert made == [network]
