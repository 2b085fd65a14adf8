"""Mean brightness after training."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from tiny import training_network

from spanpp_core.training.brightness import balanced, shifts
from spanpp_core.training.patches import Batch

SCALES = (Fraction(1), Fraction(3, 2), Fraction(2), Fraction(4))


@pytest.fixture
def network():
    """One that is too dark, by another amount at each scale."""
    network = training_network()
    with torch.no_grad():
        network.conv_cat.bias += 0.02 * torch.randn(network.hyper.channels)
    return network


@pytest.fixture
def batches(network):
    """What the network made before it was too dark is the original."""
    before = training_network()
    random = torch.Generator().manual_seed(0)
    low = torch.randint(0, 256, (2, 3, 24, 24), generator=random)
    with torch.no_grad():
        made = {s: 255 * before(low / 255, float(s)) for s in SCALES}
    return {s: [Batch(low, high, float(s))] for s, high in made.items()}


def test_every_scale_comes_out_as_bright_as_the_original(network, batches):
    before, after = (
        shifts(network, batches),
        shifts(balanced(network, batches), batches),
    )
    for scale in SCALES:
        assert after[scale].abs().max() < 0.3 * before[scale].abs().max(), scale


def test_only_the_last_bias_of_a_copy_is_changed(network, batches):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    made = balanced(network, batches).state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert torch.equal(made[name], tensor) == (name != "conv_cat.bias"), name
