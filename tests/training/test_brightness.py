"""Mean brightness after training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from tiny import TINY

import spanpp_core
from spanpp_core.network.body import BODY_RADIUS
from spanpp_core.training import brightness
from spanpp_core.training.brightness import balanced, inside_flat, shifts
from spanpp_core.training.initial_network import network_of, new_network
from spanpp_core.training.patches import Batch

SCALES = (Fraction(1), Fraction(3, 2), Fraction(2), Fraction(4))


def trained():
    return network_of(spanpp_core.bundled_model(), (1, 2, 3, 4), 0, branches=False)


@pytest.fixture
def network():
    """One that is too dark, by another amount at each scale."""
    network = trained()
    with torch.no_grad():
        network.conv_cat.bias += 0.02 * torch.randn(
            network.hyper.channels, generator=torch.Generator().manual_seed(0)
        )
    return network


@pytest.fixture
def batches(network):
    """What the network made before it was too dark is the original."""
    before = trained()
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


def test_flat_colours_come_out_as_they_are(network, batches):
    colours = torch.tensor([[0.2, 0.2, 0.2], [0.9, 0.3, 0.5], [0.1, 0.6, 0.7]])
    flat = colours[:, :, None, None].expand(-1, -1, 52, 52)

    def shift(of, scale: Fraction) -> float:
        edge = int(24 * scale)
        with torch.no_grad():
            made = of(flat, float(scale))[..., edge:-edge, edge:-edge]
        return float((made.mean((2, 3)) - colours).abs().max())

    made = balanced(network, batches)
    for scale in SCALES:
        assert shift(made, scale) < 0.3 * shift(network, scale), scale


@pytest.mark.parametrize("branches", [True, False])
def test_a_pixel_stands_for_the_inside_of_a_flat_image(branches):
    network = new_network(TINY, seed=0, branches=branches)
    colours = torch.rand(5, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    side = 2 * BODY_RADIUS + 1
    with torch.no_grad():
        expected = network.maps(colours.expand(-1, -1, side, side))
        found = inside_flat(network).maps(colours)
    middle = expected[..., BODY_RADIUS, BODY_RADIUS]
    torch.testing.assert_close(found[..., 0, 0], middle, rtol=1e-4, atol=1e-5)


def test_only_the_last_convolution_of_a_copy_is_changed(network, batches):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    made = balanced(network, batches).state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert torch.equal(made[name], tensor) != name.startswith("conv_cat."), name


def test_it_is_measured_in_exact_float32(monkeypatch):
    """On CUDA TF32 would be off by more than what is put right."""
    inside: list[torch.device] = []
    seen: set[bool] = set()

    @contextmanager
    def noting(device: torch.device) -> Iterator[None]:
        inside.append(device)
        yield
        inside.pop()

    def noted(*given, **named):
        seen.add(bool(inside))
        return conv2d(*given, **named)

    conv2d = F.conv2d
    monkeypatch.setattr(brightness, "exact_float32", noting)
    monkeypatch.setattr(F, "conv2d", noted)
    low, high = (torch.zeros(1, 3, s, s, dtype=torch.uint8) for s in (12, 24))
    batches = {Fraction(2): [Batch(low, high, 2.0)]}
    balanced(new_network(TINY, seed=0, branches=False), batches)
    assert seen == {True}
