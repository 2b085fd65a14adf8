"""What becomes of flat colours, and training that keeps them as they are."""

from __future__ import annotations

import copy

import pytest
import torch

import spanpp_core
from spanpp_core.network.scale import nearest_exact, phase_groups
from spanpp_core.training.colours import colour_shift, flat_colours, positions
from spanpp_core.training.initial_network import network_of
from spanpp_core.training.patches import Batch
from spanpp_core.training.schedule import Schedule


@pytest.fixture(scope="module")
def network():
    return network_of(spanpp_core.bundled_model(), (1, 2, 3, 4), 0, branches=False)


def every_position(scale):
    groups = phase_groups(nearest_exact(scale))
    at = torch.tensor([each for group in groups for each in group.coordinates])
    return at.expand(2, -1)


@pytest.mark.parametrize("scale", [1, 1.5, 2, 3, 3.5])
def test_the_shift_is_that_of_the_inside_of_flat_images(network, scale, monkeypatch):
    some = flat_colours()[::25]
    monkeypatch.setattr("spanpp_core.training.colours._pixels", lambda device: pixels)
    pixels = some.T[None, :, None]
    flat = some[:, :, None, None].expand(-1, -1, 46, 46)
    edge = int(22 * scale)  # whole cells remain
    with torch.no_grad():
        made = network(flat, float(scale))[..., edge:-edge, edge:-edge]
        shift = (made - some[:, :, None, None]).abs().mean()
        of_all = float(colour_shift(network, scale, every_position(scale)))
    assert of_all == pytest.approx(float(shift), rel=0.02)


def test_positions_come_to_every_part_of_a_cell_and_the_same_ones_after_a_pause():
    turns = [positions(torch.tensor(turn)) for turn in range(100)]
    assert torch.equal(turns[40], positions(torch.tensor(39).add_(1)))
    every = torch.cat([turn[:, :, None].expand(-1, -1, 3) for turn in turns], 1)
    rows, columns = every[0], torch.cat([turn[1].expand(3, -1) for turn in turns])
    cells = torch.floor((rows + 1) * 4) * 8 + torch.floor((columns + 1) * 4)
    assert len(cells.unique()) == 64
    assert min(map(torch.Tensor.min, turns)) >= -1
    assert max(map(torch.Tensor.max, turns)) < 1


def test_every_parameter_has_a_part_in_it(network):
    network.zero_grad()
    colour_shift(network, 2.73, every_position(2.5)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_training_with_it_shifts_them_less(network, tmp_path):
    fabric = pytest.importorskip("lightning_fabric").Fabric
    loop = pytest.importorskip("spanpp_core.training.loop")
    anywhere = torch.linspace(-1, 1, 9).expand(2, -1)
    trained = copy.deepcopy(network)
    with torch.no_grad():
        trained.conv_cat.bias += 0.02
        before = float(colour_shift(trained, 2, anywhere))
    pair = Batch(torch.zeros(1, 3, 8, 8).byte(), torch.zeros(1, 3, 16, 16).byte(), 2.0)
    loop.train(
        trained,
        lambda rank: [pair] * 30,
        Schedule(30, 2e-4, warm_up=2, save_every=100, log_every=100, ema=0.5),
        tmp_path,
        fabric=fabric(accelerator="cpu", devices=1),
        settings={},
        colours=1e3,
    )
    with torch.no_grad():
        assert float(colour_shift(trained, 2, anywhere)) < 0.5 * before
