"""Fused == branches, in float64, values and gradients, borders included."""

from __future__ import annotations

import pytest
import torch
from tiny import TINY, training_network

from spanpp_core.network.branches import RepConvBranches
from spanpp_core.network.model import SpanPP


@pytest.mark.parametrize(("cin", "cout"), [(3, 8), (5, 5), (1, 2)])
def test_fused_equals_branches_to_the_border(cin: int, cout: int):
    torch.manual_seed(cin)
    conv = RepConvBranches(cin, cout).double()
    with torch.no_grad():
        conv.alpha.copy_(torch.tensor([0.7, -0.3, 1.4]))
    x = torch.randn(2, cin, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(conv(x), conv.branches(x), rtol=0, atol=1e-12)


def test_gradients_of_weight_space_training_are_those_of_the_branches():
    torch.manual_seed(1)
    conv = RepConvBranches(4, 6).double()
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    seen = []
    for run in (conv.forward, conv.branches):
        conv.zero_grad()
        run(x).square().sum().backward()
        seen.append({name: p.grad.clone() for name, p in conv.named_parameters()})
    fused, branches = seen
    for name, gradient in branches.items():
        difference = (fused[name] - gradient).abs().max() / gradient.abs().max()
        assert difference < 1e-12, name


def test_fused_tensors_are_contiguous():
    weight, bias = RepConvBranches(3, 4).fused()
    assert weight.is_contiguous()
    assert bias.is_contiguous()


@pytest.mark.parametrize("scale", [1, 2, 2.5, 4])
def test_training_and_inference_network_agree(scale: float):
    trained = training_network()
    fused = SpanPP(TINY)
    fused.load_state_dict(trained.fused_state_dict())
    x = torch.rand(2, 3, 12, 9)
    with torch.no_grad():
        expected = trained(x, scale)
        result = fused.at_scale(scale)(x)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
