"""Fused == branches, in float64, values and gradients, borders included."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from tiny import TINY, training_network
from torch.utils._python_dispatch import TorchDispatchMode

from spanpp_core.network.branches import RepConvBranches, fused_together
from spanpp_core.network.model import SpanPP


@pytest.mark.parametrize(("cin", "cout"), [(3, 8), (5, 5), (1, 2)])
def test_fused_equals_branches_to_the_border(cin: int, cout: int):
    torch.manual_seed(cin)
    conv = RepConvBranches(cin, cout).double()
    with torch.no_grad():
        conv.alpha.copy_(torch.tensor([0.7, -0.3, 1.4]))
    x = torch.randn(2, cin, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(conv(x), conv.run_branches(x), rtol=0, atol=1e-12)


def test_gradients_of_weight_space_training_are_those_of_the_branches():
    torch.manual_seed(1)
    conv = RepConvBranches(4, 6).double()
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    seen = []
    for run in (conv.forward, conv.run_branches):
        conv.zero_grad()
        run(x).square().sum().backward()
        seen.append({name: p.grad.clone() for name, p in conv.named_parameters()})
    fused, branches = seen
    for name, gradient in branches.items():
        difference = (fused[name] - gradient).abs().max() / gradient.abs().max()
        assert difference < 1e-12, name


def test_fused_tensors_are_contiguous():
    conv = RepConvBranches(3, 4)
    for tensor in (*conv.fused(), *conv.fused_bottleneck()):
        assert tensor.is_contiguous()


def test_fused_bottleneck_equals_the_third_branch():
    torch.manual_seed(2)
    conv = RepConvBranches(4, 6).double()
    x = torch.randn(1, 4, 6, 5, dtype=torch.float64)
    result = F.conv2d(x, *conv.fused_bottleneck(), padding=1)
    torch.testing.assert_close(result, conv.conv3(x), rtol=0, atol=1e-12)


def test_autocast_rounds_no_fused_weight():
    torch.manual_seed(3)
    conv = RepConvBranches(3, 4)
    expected = conv.fused()
    with torch.autocast("cpu", torch.bfloat16):
        fused = conv.fused()
        assert conv(torch.rand(1, 3, 5, 5)).dtype == torch.bfloat16
    torch.testing.assert_close(fused, expected, rtol=0, atol=0)


class Convolutions(TorchDispatchMode):
    """Counts them."""

    count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.count += "convolution" in operator._schema.name
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "made",
    [
        lambda network: network.fused_state_dict(),
        lambda network: fused_together([conv for _, conv in network._convs()]),
        lambda network: network.upsampler.exact_kernels(Fraction(5, 2)),
        lambda network: network.upsampler.sampled_kernels(Fraction(273, 100)),
    ],
    ids=["one by one", "together", "exact kernels", "sampled kernels"],
)
def test_weights_are_made_without_convolutions(made):
    """A GPU's round to the 10 bits of TF32 where nothing forbids it, products do not."""
    network = training_network()
    with Convolutions() as convolutions:
        made(network)
    assert convolutions.count == 0


def test_branches_made_for_a_fused_network_amount_to_it():
    fused = training_network(seed=1).fused_state_dict()
    other = training_network(seed=2)
    others = dict(other.state_dict())
    branches = other.branches_for(fused)
    other.load_state_dict({**others, **branches})
    again = other.fused_state_dict()
    for name, tensor in fused.items():
        if "conv_3x3_rep" in name:
            torch.testing.assert_close(again[name], tensor, rtol=1e-4, atol=1e-6)
    changed = {n for n, t in branches.items() if not torch.equal(t, others[n])}
    assert all(".conv2." in name for name in changed)


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
