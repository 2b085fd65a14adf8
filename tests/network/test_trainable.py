"""The training forms: with branches, and plain."""

from __future__ import annotations

import pytest
import torch
from tiny import TINY, training_network
from torch.utils._python_dispatch import TorchDispatchMode

from spanpp_core.network.branches import RepConvBranches, fused_together
from spanpp_core.network.model import SpanPP
from spanpp_core.network.trainable import SpanPPPlain

X = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))


def convs_of(network: torch.nn.Module) -> list[RepConvBranches]:
    return [each for each in network.modules() if isinstance(each, RepConvBranches)]


def test_fused_together_is_fused_one_by_one_in_value_and_gradient():
    convs = convs_of(training_network().double())
    gradients = []
    for fused in (fused_together(convs), [conv.fused() for conv in convs]):
        total = sum(each.weight.square().sum() + each.bias.sum() for each in fused)
        parameters = [p for conv in convs for p in conv.parameters()]
        gradients.append(torch.autograd.grad(total, parameters))
    for together, alone in zip(fused_together(convs), (conv.fused() for conv in convs)):
        torch.testing.assert_close(together.weight, alone.weight, rtol=1e-12, atol=0)
        torch.testing.assert_close(together.bias, alone.bias, rtol=1e-12, atol=1e-15)
    for together, alone in zip(*gradients):
        torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)


class Operators(TorchDispatchMode):
    """Counts what is asked of the device: on a GPU, mostly launches."""

    count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.count += 1
        return operator(*args, **(kwargs or {}))


def test_fusing_more_convolutions_of_a_shape_takes_no_more_launches():
    convs = convs_of(training_network().block_1)
    counts = []
    for few in (convs[:2], convs):
        with Operators() as operators:
            fused_together(few)
        counts.append(operators.count)
    assert counts[0] == counts[1]


def test_no_fused_kernel_outlives_a_pass():
    """Weights change between passes; a kernel that stayed would be out of date."""
    network = training_network()
    network(X, 2)
    assert all(conv.given is None for conv in convs_of(network))
    with pytest.raises(RuntimeError):
        network(X[:, :1], 2)
    assert all(conv.given is None for conv in convs_of(network))


@pytest.mark.parametrize("scale", [1, 2, 2.5, 4])
def test_the_plain_form_computes_what_the_inference_network_does(scale):
    plain, inference = SpanPPPlain(TINY), SpanPP(TINY)
    inference.load_state_dict(plain.fused_state_dict())
    expected = inference.at_scale(scale)(X)
    assert torch.allclose(plain(X, scale), expected, rtol=1e-4, atol=1e-5)


def test_under_autocast_the_ends_stay_float32():
    plain = SpanPPPlain(TINY)
    dtypes = {}
    for name, module in plain.named_modules():
        if name in ("conv0", "block_1.c1_r", "conv_cat"):
            module.register_forward_hook(
                lambda _, __, y, name=name: dtypes.update({name: y.dtype})
            )
    with torch.autocast("cpu", torch.bfloat16):
        assert plain(X, 2).dtype == torch.float32
    assert dtypes["conv0"] == dtypes["conv_cat"] == torch.float32
    assert dtypes["block_1.c1_r"] == torch.bfloat16
