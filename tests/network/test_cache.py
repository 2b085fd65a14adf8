"""The kernel cache of the inference network: made once, never out of date, bounded."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
import torch
from tiny import training_network

import spanpp_core
from spanpp_core.network import cache
from spanpp_core.network.igconv import IGConv


def test_kernels_are_made_once_per_scale(model, monkeypatch):
    made = []
    kernels_at = IGConv.kernels_at

    def counted(self, ys, xs, scale):
        made.append(scale)
        return kernels_at(self, ys, xs, scale)

    monkeypatch.setattr(IGConv, "kernels_at", counted)
    x = torch.rand(1, 3, 5, 5)
    for scale in (2, 3, 2, 3, 2):
        model.at_scale(scale).model(x)
    assert made == [2.0, 3.0]


def test_a_change_of_any_weight_changes_the_version(model):
    seen = {cache.weights_version(model.model)}
    with torch.no_grad():
        weights = list(model.model.parameters())
        for weight in weights:
            weight.mul_(1)
            seen.add(cache.weights_version(model.model))
    assert len(seen) == 1 + len(weights)


@pytest.mark.parametrize("how", ["load", "assign", "in place", "inference load"])
def test_cache_follows_the_weights(how: str):
    state = training_network(seed=1).fused_state_dict()
    with torch.inference_mode(how == "inference load"):
        model = spanpp_core.load(training_network(seed=0).state_dict())
        x = torch.rand(1, 3, 5, 5)
        model.model(x)
        if how == "in place":
            with torch.no_grad():
                for name, tensor in model.model.state_dict().items():
                    tensor.copy_(state[name])
        else:
            model.model.load_state_dict(state, assign=how == "assign")
        expected = spanpp_core.load(state).model(x)
        torch.testing.assert_close(model.model(x), expected, rtol=1e-5, atol=1e-6)


def test_cache_follows_precision(model):
    x = torch.rand(1, 3, 5, 5)
    network, half = model.model, model.with_dtype(torch.float16).model

    def kernel(dtype: torch.dtype) -> torch.Tensor:
        return network.upsampler.whole(2, dtype, x.device)

    expected, exact = network(x), kernel(torch.float32).clone()
    torch.testing.assert_close(half(x), expected, rtol=2e-2, atol=2e-2)
    assert torch.equal(kernel(torch.float16), exact.half())
    network.half().float()
    assert torch.equal(kernel(torch.float32), exact), "rounded kernels came back"


@pytest.mark.parametrize(("device", "channels_last"), [("cpu", True), ("meta", False)])
def test_kernels_lie_as_the_convolutions_of_a_device_want(model, device, channels_last):
    """Else cuDNN would transpose all features for the sake of a small kernel."""
    made = model.model.upsampler.exact_kernels(Fraction(2))
    weight = made.to(torch.device(device), torch.float32).weight
    last = torch.channels_last
    assert weight.is_contiguous(memory_format=last) == channels_last


def test_cache_is_bounded(model, monkeypatch):
    network = model.model
    one = network.upsampler.exact_kernels(Fraction(3)).nbytes
    monkeypatch.setattr(cache, "CACHE_BYTES", 2 * one)
    x = torch.rand(1, 3, 5, 5)
    expected = network.at_scale(8)(x)  # too large to keep
    for scale in (3, 2.5, 2, 1.5, 1, 8):
        network.at_scale(scale)(x)
        assert sum(k.nbytes for k in network.upsampler._made.values()) <= 2 * one
    assert torch.equal(network.at_scale(8)(x), expected)


def test_kernels_made_under_inference_mode_serve_outside(model):
    x = torch.rand(1, 3, 5, 5)
    with torch.inference_mode():
        model.model(x)
    x.requires_grad_(True)
    model.model(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_threads_may_ask_for_kernels_of_several_scales(model, monkeypatch):
    upsampler, cpu = model.model.upsampler, torch.device("cpu")
    scales = [Fraction(each, 2) for each in range(2, 10)]
    sizes = [upsampler.exact_kernels(scale).nbytes for scale in scales]
    monkeypatch.setattr(cache, "CACHE_BYTES", sum(sizes) // 2)

    def ask(first: int) -> None:
        for turn in range(300):
            scale = scales[(first + turn) % len(scales)]
            assert upsampler.kernels_for(scale, torch.float32, cpu).scale == scale

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, range(4)))
    finally:
        sys.setswitchinterval(interval)
