"""Muon's steps."""

from __future__ import annotations

import pytest
import torch
from tiny import training_network
from torch.utils._python_dispatch import TorchDispatchMode

from spanpp_core.training.muon import Muon, orthogonal, split


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8, 40), (3, 40, 8)])
def test_all_directions_become_about_equally_long(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonal(matrices))
    assert singular.min() > 0.3
    assert singular.max() < 1.3


def test_directions_stay_what_they_are():
    """It changes lengths only: the singular vectors are those of the matrix."""
    matrix = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    between = u.T @ orthogonal(matrix[None])[0] @ v.T
    off = between - torch.diag(between.diagonal())
    assert off.abs().max() < 1e-4


def test_a_step_is_a_share_of_the_weight():
    weights = [torch.nn.Parameter(torch.randn(4, 5, 3, 3) * size) for size in (1, 100)]
    before = [weight.detach().clone() for weight in weights]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    Muon(weights, lr=0.01).step()
    for old, new in zip(before, weights):
        assert float((new.detach() - old).norm() / old.norm()) == pytest.approx(
            0.01, rel=1e-4
        )


def test_weight_decay_takes_a_share_of_each_weight_besides():
    weights = [torch.nn.Parameter(torch.randn(4, 5, 3, 3)) for _ in range(2)]
    kept = [weight.detach().clone() for weight in weights]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    plain = [torch.nn.Parameter(weight.clone()) for weight in kept]
    for one, other in zip(plain, weights):
        one.grad = other.grad
    Muon(plain, lr=0.1).step()
    Muon(weights, lr=0.1, weight_decay=0.2).step()
    for old, one, other in zip(kept, plain, weights):
        assert torch.allclose(other, one - 0.02 * old, atol=1e-5)


class Operators(TorchDispatchMode):
    """Counts what is asked of the device: on a GPU, mostly launches."""

    count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.count += 1
        return operator(*args, **(kwargs or {}))


def test_more_weights_of_a_shape_take_no_more_launches():
    counts = []
    for number in (2, 9):
        weights = [torch.nn.Parameter(torch.randn(4, 5, 3, 3)) for _ in range(number)]
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        muon = Muon(weights, lr=0.01, weight_decay=0.1)
        muon.step()  # makes the momenta
        with Operators() as operators:
            muon.step()
        counts.append(operators.count)
    assert counts[0] == counts[1]


def test_a_weight_without_gradient_stays_finite_and_where_it_is():
    still = torch.nn.Parameter(torch.randn(4, 5, 3, 3))
    none = torch.nn.Parameter(torch.randn(4, 5, 3, 3))
    before = still.detach().clone()
    still.grad = torch.zeros_like(still)
    Muon([still, none], lr=0.01).step()
    assert torch.equal(still, before)


def test_every_parameter_is_trained_by_one_of_the_two():
    network = training_network()
    matrices, others = split(network)
    together = {id(parameter) for parameter in matrices + others}
    assert together == {id(parameter) for parameter in network.parameters()}
    assert len(matrices) + len(others) == len(together)
    assert network.upsampler.freq in set(others)
    assert network.block_3.c2_r.conv2.weight in set(matrices)
