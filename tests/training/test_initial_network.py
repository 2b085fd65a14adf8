"""The network that a training starts with."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from tiny import TINY, training_network

import spanpp_core
from spanpp_core.network.model import SpanPP
from spanpp_core.training.initial_network import network_of, new_network

X = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0))


def test_a_training_file_gives_its_branches_back(tmp_path):
    network = training_network()
    save_file(network.state_dict(), tmp_path / "training.safetensors")
    found = network_of(tmp_path / "training.safetensors", TINY.scales, seed=1)
    expected = network.state_dict()
    assert found.state_dict().keys() == expected.keys()
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("branches", [True, False])
def test_a_fused_file_gives_a_network_that_computes_the_same(tmp_path, branches):
    path = tmp_path / "slim.safetensors"
    spanpp_core.write_slim(path, spanpp_core.parse(training_network().state_dict()))
    found = network_of(path, TINY.scales, seed=1, branches=branches)
    inference = SpanPP(TINY)
    inference.load_state_dict(
        spanpp_core.parse(training_network().state_dict()).state_dict
    )
    for scale in (1, 2.5, 4):
        y = inference.at_scale(scale)(X)
        assert torch.allclose(found(X, scale), y, rtol=1e-4, atol=1e-5)


def test_a_file_can_be_trained_for_other_scales(tmp_path):
    save_file(training_network().state_dict(), tmp_path / "training.safetensors")
    found = network_of(tmp_path / "training.safetensors", (2, 6), seed=0)
    assert found.hyper.scales == (2, 6)
    assert found.MetaIGConv.tolist() == [2, 6]


def test_a_new_network_is_a_function_of_the_seed():
    with torch.random.fork_rng():
        first, again, other = (new_network(TINY, seed) for seed in (0, 0, 1))
    assert torch.equal(first.conv_cat.weight, again.conv_cat.weight)
    assert not torch.equal(first.conv_cat.weight, other.conv_cat.weight)


def test_a_plain_network_begins_as_one_with_branches_and_is_saved_as_a_fused_file():
    network = new_network(TINY, seed=0)
    plain = new_network(TINY, seed=0, branches=False)
    assert torch.allclose(plain(X, 2.5), network(X, 2.5), rtol=1e-4, atol=1e-5)
    assert plain.state_dict().keys() == SpanPP(TINY).state_dict().keys()
