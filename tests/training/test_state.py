"""What a run is taken up again from."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from tiny import training_network

from spanpp_core import checkpoint
from spanpp_core.errors import TrainingError
from spanpp_core.training.muon import split
from spanpp_core.training.schedule import Schedule
from spanpp_core.training.state import STATE, restore, write_state, write_weights


def parts_of(network: torch.nn.Module, captured: bool = False) -> dict[str, object]:
    optimizers = Schedule(1).optimizers(*split(network), captured=captured)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    for optimizer in optimizers:
        optimizer.step()
    return {"network": network} | {type(each).__name__: each for each in optimizers}


def test_the_state_of_optimizers_follows_the_weights_to_their_device(tmp_path):
    """As on a GPU, where the weights are before the state is read."""
    write_state(tmp_path / STATE, {}, 7, parts_of(training_network()))
    network = training_network().to("meta")
    optimizers = Schedule(1).optimizers(*split(network))
    parts = {type(each).__name__: each for each in optimizers}
    assert restore(tmp_path / STATE, {}, parts) == 7
    moments = [
        value
        for optimizer in optimizers
        for state in optimizer.state.values()
        for name, value in state.items()
        if name != "step"
    ]
    assert moments
    assert {moment.device.type for moment in moments} == {"meta"}


@pytest.mark.parametrize("captured", [False, True])
def test_a_run_may_go_on_on_another_device_in_that_ones_own_way(tmp_path, captured):
    """Graphs read the learning rate from a tensor, which a processor does not make."""
    write_state(tmp_path / STATE, {}, 7, parts_of(training_network(), not captured))
    parts = parts_of(training_network(), captured)
    before = [parts[name].param_groups[0].copy() for name in ("Muon", "Adam")]
    restore(tmp_path / STATE, {}, parts)
    for name, group in zip(("Muon", "Adam"), before):
        assert parts[name].param_groups[0] == group
        assert isinstance(group["lr"], torch.Tensor) == captured
        parts[name].step()


def test_steps_and_rate_may_be_others_and_nothing_else(tmp_path):
    settings = {"steps": 10, "learning_rate": 1e-3, "tail": 0.5, "batch": 8}
    parts = parts_of(training_network())
    write_state(tmp_path / STATE, settings, 5, parts)
    longer = settings | {"steps": 20, "learning_rate": 2e-3, "tail": 0.1}
    assert restore(tmp_path / STATE, longer, parts) == 5
    with pytest.raises(TrainingError, match="batch = 8, and 9 was asked for"):
        restore(tmp_path / STATE, settings | {"batch": 9}, parts)


@pytest.mark.parametrize("degrade", ["none", "photo"])
@pytest.mark.parametrize("weights", [None, "clean.safetensors"])
def test_weights_trained_further_on_degraded_photos_are_a_repair_model(
    tmp_path, degrade, weights
):
    settings = {"degrade": degrade, "weights": weights}
    write_weights(tmp_path / "made.safetensors", training_network(), settings, 1)
    made = checkpoint.read(tmp_path / "made.safetensors")
    assert made.repair == (degrade == "photo" and weights is not None)


def test_without_a_state_nothing_was_done(tmp_path):
    assert restore(tmp_path / STATE, {}, {}) == 0


@pytest.mark.parametrize("kept", [0, 0.5, None])
def test_a_damaged_state_is_named(tmp_path, kept):
    parts = parts_of(training_network())
    path = tmp_path / STATE
    write_state(path, {}, 5, parts)
    if kept is None:
        torch.save({"epoch": 3}, path)
    else:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(TrainingError, match=f"{STATE} is damaged or not the state of"):
        restore(path, {}, parts)


def test_a_full_disk_is_told_and_nothing_half_is_left(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_state(tmp_path / STATE, {}, 5, {})
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_state(tmp_path / STATE, {}, 6, {})
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    assert restore(tmp_path / STATE, {}, {}) == 5
