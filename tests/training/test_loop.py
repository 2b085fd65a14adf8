"""The loop: what it learns, and that a stopped run goes on as if it had not been."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import training_network

import spanpp_core
from spanpp_core import images
from spanpp_core.training.patches import Patches, ScaleDraw, smallest_side
from spanpp_core.training.photos import Photos
from spanpp_core.training.start import network_of

Fabric = pytest.importorskip("lightning_fabric").Fabric
loop = pytest.importorskip("spanpp_core.training.loop")

DRAW = ScaleDraw.whole((1, 2, 3, 4))
PATCH = 12


class Killed(Exception):
    """As if the process had died there."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    pixels = images.read(spanpp_core.bundled_photo()).pixels[0]
    image = pixels.mul(255).round().byte().movedim(0, -1).numpy()[:200, :300]
    path = tmp_path_factory.mktemp("photos") / "photos.bin"
    return Photos.pack([image], path, smallest_side(PATCH, DRAW), "key")


def run(photos, out, *, kill_at: int = 0, steps: int = 12, **settings) -> list:
    reports = []

    def watch(report):
        reports.append(report)
        if report.step == kill_at:
            raise Killed

    out.mkdir(exist_ok=True)
    loop.train(
        training_network(),
        lambda rank: Patches(photos, DRAW, PATCH, 2, 0, rank),
        loop.Schedule(steps, 3e-2, warm_up=2, save_every=5),
        out,
        fabric=Fabric(accelerator="cpu", devices=1),
        settings=settings,
        on_step=watch,
    )
    return reports


@pytest.mark.parametrize("kill_at", [3, 5, 8])
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path, photos, kill_at):
    whole = run(photos, tmp_path / "whole")
    with pytest.raises(Killed):
        run(photos, tmp_path / "killed", kill_at=kill_at)
    rest = run(photos, tmp_path / "killed")
    assert rest == whole[-len(rest) :]
    expected = load_file(tmp_path / "whole" / loop.WEIGHTS)
    for name, tensor in load_file(tmp_path / "killed" / loop.WEIGHTS).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_finished_run_is_left_as_it_is(tmp_path, photos):
    run(photos, tmp_path)
    before = (tmp_path / loop.WEIGHTS).read_bytes()
    assert run(photos, tmp_path) == []
    assert (tmp_path / loop.WEIGHTS).read_bytes() == before


def test_a_run_with_other_settings_is_not_taken_up(tmp_path, photos):
    run(photos, tmp_path, learning_rate=1)
    with pytest.raises(ValueError, match="learning_rate = 1, and 2 was asked for"):
        run(photos, tmp_path, learning_rate=2)


def test_the_weights_say_how_they_were_made_and_open_like_any(tmp_path, photos):
    run(photos, tmp_path, learning_rate=1)
    model = spanpp_core.load(tmp_path / loop.WEIGHTS)
    assert model.scales == (1, 2, 3, 4)
    with safe_open(tmp_path / loop.WEIGHTS, "pt") as file:
        training = json.loads(file.metadata()["training"])
    assert training == {"learning_rate": 1, "step": 12}


def test_a_loss_that_explodes_is_said_in_one_line(tmp_path, photos):
    broken = training_network()
    with torch.no_grad():
        broken.conv_cat.weight.fill_(torch.inf)
    with pytest.raises(FloatingPointError, match=r"at step 1; .*lower learning rate"):
        loop.train(
            broken,
            lambda rank: Patches(photos, DRAW, PATCH, 2, 0, rank),
            loop.Schedule(5),
            tmp_path,
            fabric=Fabric(accelerator="cpu", devices=1),
            settings={},
        )
    assert not (tmp_path / loop.STATE).exists()


def test_it_learns(tmp_path, photos):
    """From far away, in a hundred steps, at the scale that is easiest to measure."""
    reports = run(photos, tmp_path, steps=120)
    doubled = [report.loss for report in reports if report.scale == 2]
    assert sum(doubled[-5:]) < 0.7 * sum(doubled[:5])


def test_the_rate_rises_and_falls_to_nothing():
    schedule = loop.Schedule(1000, warm_up=10)
    shares = [schedule.share(step) for step in range(1000)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == pytest.approx(1, rel=1e-3)
    assert shares[-1] < 1e-5


@pytest.mark.parametrize("scale", [1, 2, Fraction(3, 2)], ids=str)
def test_in_bfloat16_the_gradient_points_where_it_does_in_float32(photos, scale):
    """Rounding at the ends shifts the image, and training would follow that shift."""
    network = network_of(spanpp_core.bundled_model(), (1, 2, 3, 4), seed=0)
    patches = Patches(photos, ScaleDraw((Fraction(scale),), (1.0,)), PATCH, 2, 0)
    gradients = []
    for mixed in (False, True):
        network.zero_grad()
        low, high, s = patches[0]
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            (network(low, s) - high).abs().mean().backward()
        flat = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        gradients.append(torch.cat(flat))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95
