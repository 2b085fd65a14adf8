"""The loop: what it learns, and that a stopped run goes on as if it had not been."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import TINY, training_network

import spanpp_core
from spanpp_core import images
from spanpp_core.errors import TrainingError
from spanpp_core.network.trainable import SpanPPPlain
from spanpp_core.training.initial_network import network_of
from spanpp_core.training.losses import LOSSES
from spanpp_core.training.patches import Patches, smallest_side
from spanpp_core.training.photos import Photos
from spanpp_core.training.scale_draw import ScaleDraw
from spanpp_core.training.schedule import Schedule

Fabric = pytest.importorskip("lightning_fabric").Fabric
loop = pytest.importorskip("spanpp_core.training.loop")
state = pytest.importorskip("spanpp_core.training.state")

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


def run(
    photos,
    out,
    *,
    kill_at: int = 0,
    stop_at: int = 0,
    steps: int = 12,
    validate=None,
    ema: float = 0.998,
    accelerator: str = "cpu",
    captured: bool = False,
    network=training_network,
    loss: str = "l1",
    colours: float = 0.0,
    **settings,
) -> list:
    reports = []

    def watch(report):
        reports.append(report)
        if report.step == kill_at:
            raise Killed

    out.mkdir(exist_ok=True)
    loop.train(
        network(),
        lambda rank: Patches(photos, DRAW, PATCH, 2, 0, rank),
        Schedule(steps, 3e-2, warm_up=2, save_every=5, log_every=1, ema=ema),
        out,
        fabric=Fabric(accelerator=accelerator, devices=1),
        settings=settings,
        loss_of=lambda step: LOSSES[loss],
        colours=colours,
        captured=captured,
        validate=validate,
        on_report=watch,
        should_stop=lambda: len(reports) + 1 == stop_at,
    )
    return reports


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """A run that nothing stops: its folder and reports."""
    out = tmp_path_factory.mktemp("whole")
    return out, run(photos, out)


def assert_same_weights(one, other) -> None:
    expected = load_file(one / state.WEIGHTS)
    for name, tensor in load_file(other / state.WEIGHTS).items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("kill_at", [3, 5, 8])
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path, photos, whole, kill_at):
    out, expected = whole
    with pytest.raises(Killed):
        run(photos, tmp_path / "killed", kill_at=kill_at)
    rest = run(photos, tmp_path / "killed")
    assert rest == expected[-len(rest) :]
    assert_same_weights(out, tmp_path / "killed")


@pytest.mark.gpu
def test_a_killed_run_goes_on_on_a_gpu(tmp_path, photos):
    whole = run(photos, tmp_path / "whole", accelerator="cuda")
    with pytest.raises(Killed):
        run(photos, tmp_path / "killed", kill_at=8, accelerator="cuda")
    rest = run(photos, tmp_path / "killed", accelerator="cuda")
    assert [report.step for report in rest] == list(range(6, 13))
    assert rest[-1].losses == pytest.approx(whole[-1].losses, rel=0.1)


def plain_network() -> SpanPPPlain:
    network = SpanPPPlain(TINY)
    network.load_state_dict(training_network().fused_state_dict())
    return network


@pytest.mark.gpu
@pytest.mark.parametrize(
    "how", [{}, {"network": plain_network, "loss": "l1+fft", "colours": 6.0}]
)
def test_captured_steps_are_the_steps(tmp_path, photos, how, caplog):
    """Long enough for each scale to be replayed several times."""
    how = {"steps": 40, "accelerator": "cuda", **how}
    plain = run(photos, tmp_path / "plain", **how)
    graphs = run(photos, tmp_path / "graphs", captured=True, **how)
    assert len(graphs) == 40
    assert not caplog.messages, "a capture failed"
    for one, other in zip(graphs, plain):
        assert one.losses == pytest.approx(other.losses, rel=0.1)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=0.3)


def test_a_run_that_is_asked_to_stop_saves_that_very_step_and_goes_on(
    tmp_path, photos, whole
):
    out, expected = whole
    assert len(run(photos, tmp_path / "stopped", stop_at=3)) == 3
    rest = run(photos, tmp_path / "stopped")
    assert rest == expected[3:]
    assert_same_weights(out, tmp_path / "stopped")


def test_a_run_can_be_made_longer(tmp_path, photos):
    """Before its tail, no step knows how many there will be."""
    run(photos, tmp_path / "longer", stop_at=6, steps=12, learning_rate=1)
    run(photos, tmp_path / "longer", steps=20, learning_rate=1)
    run(photos, tmp_path / "whole", steps=20, learning_rate=1)
    assert_same_weights(tmp_path / "whole", tmp_path / "longer")


def test_a_finished_run_can_go_on_at_another_rate(tmp_path, photos):
    run(photos, tmp_path, learning_rate=1)
    reports = run(photos, tmp_path, steps=14, learning_rate=0.5)
    assert [report.step for report in reports] == [13, 14]


def test_a_short_run_is_not_mostly_its_initial_weights(tmp_path, photos):
    """Its average forgets them, though in the long run it looks 500 steps back."""
    run(photos, tmp_path, steps=60)
    initial = training_network().state_dict()
    live = torch.load(tmp_path / state.STATE, weights_only=True)["network"]
    made = load_file(tmp_path / state.WEIGHTS)

    def away(one, other):
        names = [name for name in made if name != "MetaIGConv"]
        return sum(float((one[n] - other[n]).square().sum()) for n in names) ** 0.5

    assert away(made, live) < 0.2 * away(initial, live)


def test_the_state_is_read_when_the_weights_are_on_their_device(
    tmp_path, photos, monkeypatch
):
    """Before, the optimizers' state would stay on the CPU: a resumed run would die."""
    order = []
    setup, restore = Fabric.setup, loop.restore
    monkeypatch.setattr(
        Fabric, "setup", lambda *a, **k: order.append("setup") or setup(*a, **k)
    )
    monkeypatch.setattr(
        loop, "restore", lambda *a: order.append("restore") or restore(*a)
    )
    run(photos, tmp_path, steps=1)
    assert order == ["setup", "restore"]


def test_validation_comes_before_the_first_step_and_at_each_save(tmp_path, photos):
    measured = []
    run(photos, tmp_path, validate=lambda network: measured.append(network) or {})
    assert len(measured) == 1 + 3  # at 0, 5, 10 and 12


def test_a_finished_run_is_left_as_it_is(tmp_path, photos):
    run(photos, tmp_path)
    before = (tmp_path / state.WEIGHTS).read_bytes()
    assert run(photos, tmp_path) == []
    assert (tmp_path / state.WEIGHTS).read_bytes() == before


def test_a_run_with_other_settings_is_not_taken_up(tmp_path, photos):
    run(photos, tmp_path, batch=1)
    with pytest.raises(TrainingError, match="batch = 1, and 2 was asked for"):
        run(photos, tmp_path, batch=2)


def test_the_weights_say_how_they_were_made_and_open_like_any(tmp_path, photos):
    run(photos, tmp_path, learning_rate=1)
    model = spanpp_core.load(tmp_path / state.WEIGHTS)
    assert model.scales == (1, 2, 3, 4)
    with safe_open(tmp_path / state.WEIGHTS, "pt") as file:
        training = json.loads(file.metadata()["training"])
    assert training == {"learning_rate": 1, "step": 12}


def test_a_loss_that_explodes_is_said_in_one_line(tmp_path, photos):
    broken = training_network()
    with torch.no_grad():
        broken.conv_cat.weight.fill_(torch.inf)
    with pytest.raises(TrainingError, match=r"loss is .* by step 5: .*lower learning"):
        loop.train(
            broken,
            lambda rank: Patches(photos, DRAW, PATCH, 2, 0, rank),
            Schedule(5),
            tmp_path,
            fabric=Fabric(accelerator="cpu", devices=1),
            settings={},
        )
    assert not (tmp_path / state.STATE).exists()


def test_it_learns(tmp_path, photos):
    """From far away, in a hundred steps, at the scale that is easiest to measure."""
    reports = run(photos, tmp_path, steps=120)
    doubled = [report.losses[2.0] for report in reports if 2.0 in report.losses]
    assert sum(doubled[-5:]) < 0.7 * sum(doubled[:5])


@pytest.mark.parametrize("scale", [1, 2, Fraction(3, 2)], ids=str)
def test_in_bfloat16_the_gradient_points_where_it_does_in_float32(photos, scale):
    """Rounding at the ends shifts the image, and training would follow that shift."""
    network = network_of(spanpp_core.bundled_model(), (1, 2, 3, 4), seed=0)
    patches = Patches(photos, ScaleDraw((Fraction(scale),), (1.0,)), PATCH, 2, 0)
    gradients = []
    for mixed in (False, True):
        network.zero_grad()
        low, high = patches[0].unit(torch.device("cpu"))
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            (network(low, float(scale)) - high).abs().mean().backward()
        flat = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        gradients.append(torch.cat(flat))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95
