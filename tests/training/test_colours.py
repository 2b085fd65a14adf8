"""What becomes of flat colours, and training that keeps them as they are."""

from __future__ import annotations

import copy

import pytest
import torch

import spanpp_core
from spanpp_core.training.colours import colour_shift, flat_colours
from spanpp_core.training.initial import network_of
from spanpp_core.training.patches import Batch
from spanpp_core.training.schedule import Schedule


@pytest.fixture(scope="module")
def network():
    return network_of(spanpp_core.bundled_model(), (1, 2, 3, 4), 0, branches=False)


@pytest.mark.parametrize("scale", [1, 1.5, 2, 3])
def test_the_shift_is_that_of_the_inside_of_flat_images(network, scale, monkeypatch):
    some = flat_colours()[::25]
    monkeypatch.setattr("spanpp_core.training.colours._pixels", lambda device: pixels)
    pixels = some.T[None, :, None]
    flat = some[:, :, None, None].expand(-1, -1, 46, 46)
    edge = int(22 * scale)  # whole cells remain
    with torch.no_grad():
        made = network(flat, float(scale))[..., edge:-edge, edge:-edge]
        shift = (made - some[:, :, None, None]).abs().mean()
        assert colour_shift(network, scale) == pytest.approx(float(shift), rel=0.02)


def test_every_parameter_has_a_part_in_it(network):
    network.zero_grad()
    colour_shift(network, 2.73).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_training_with_it_shifts_them_less(network, tmp_path):
    fabric = pytest.importorskip("lightning_fabric").Fabric
    loop = pytest.importorskip("spanpp_core.training.loop")
    before = float(colour_shift(network, 2).detach())
    pair = Batch(torch.zeros(1, 3, 8, 8).byte(), torch.zeros(1, 3, 16, 16).byte(), 2.0)
    trained = copy.deepcopy(network)
    loop.train(
        trained,
        lambda rank: [pair] * 30,
        Schedule(30, 2e-4, warm_up=2, save_every=100, log_every=100, ema=0.5),
        tmp_path,
        fabric=fabric(accelerator="cpu", devices=1),
        settings={},
        colours=1e3,
    )
    assert float(colour_shift(trained, 2).detach()) < 0.7 * before
