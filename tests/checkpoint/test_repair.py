"""The line from a clean model to its repair model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import TINY, fine_tuned, training_network

import spanpp_core
from spanpp_core import RepairError, checkpoint

STRENGTHS = (0.25, 0.5, 0.6)


@pytest.fixture
def clean(clean_file: Path) -> checkpoint.Checkpoint:
    return checkpoint.read(clean_file)


@pytest.fixture
def repair(clean_file: Path) -> checkpoint.Checkpoint:
    return checkpoint.read(clean_file.with_name("tiny_repair.safetensors"))


def refusal(source: object, repair: float = 0.5, weights: object = None) -> str:
    with pytest.raises(RepairError) as caught:
        spanpp_core.load(source, repair=repair, repair_weights=weights)
    message = str(caught.value)
    assert "\n" not in message
    return message


def same(model: spanpp_core.SpanPPDescriptor, found: checkpoint.Checkpoint) -> bool:
    live = model.model.state_dict()
    assert live.keys() == found.state_dict.keys()
    return all(torch.equal(live[name], found.state_dict[name]) for name in live)


def test_at_0_the_weights_are_the_clean_ones_bit_for_bit(clean_file, clean, repair):
    for model in (
        spanpp_core.load(clean_file),
        spanpp_core.load(clean_file, repair=0),
        spanpp_core.load(clean, repair=0, repair_weights=repair),
    ):
        assert same(model, clean)
        assert model.repair == 0


def test_at_1_the_weights_are_the_repair_models_bit_for_bit(clean_file, clean, repair):
    model = spanpp_core.load(clean_file, repair=1)
    assert same(model, repair)
    assert not same(model, clean)
    assert model.repair == 1


@pytest.mark.parametrize("strength", STRENGTHS)
def test_every_tensor_between_is_the_weighted_mean(clean_file, clean, repair, strength):
    live = spanpp_core.load(clean_file, repair=strength).model.state_dict()
    for name, tensor in live.items():
        ends = clean.state_dict[name].double(), repair.state_dict[name].double()
        expected = (1 - strength) * ends[0] + strength * ends[1]
        torch.testing.assert_close(tensor.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("as_given", ["file", "checkpoint", "state dict"])
def test_the_repair_model_can_be_given(tmp_path, training_state, as_given):
    other = fine_tuned(training_state)
    weights = {
        "file": tmp_path / "of_another_name.safetensors",
        "checkpoint": checkpoint.parse(other),
        "state dict": other,
    }[as_given]
    save_file(other, tmp_path / "of_another_name.safetensors")
    model = spanpp_core.load(training_state, repair=0.5, repair_weights=weights)
    mean = checkpoint.repaired(training_state, 0.5, other)
    assert model.repair == 0.5
    assert same(model, mean)


def test_the_file_beside_may_be_of_another_kind(clean_file: Path, repair):
    clean_file.with_name("tiny_repair.safetensors").unlink()
    assert checkpoint.repair_file(clean_file) is None
    beside = clean_file.with_name("tiny_repair.pth")
    torch.save(repair.state_dict, beside)
    assert checkpoint.repair_file(clean_file) == beside
    assert same(spanpp_core.load(clean_file, repair=1), repair)


def test_views_keep_the_strength_and_the_callers_data_is_untouched(clean, repair):
    before = {name: tensor.clone() for name, tensor in clean.state_dict.items()}
    model = spanpp_core.load(clean, repair=0.5, repair_weights=repair)
    assert model.at_scale(2.5).repair == model.with_dtype(torch.bfloat16).repair == 0.5
    assert all(torch.equal(clean.state_dict[name], before[name]) for name in before)


def test_fractions_were_trained_if_both_say_so(clean, repair):
    both = [replace(each, continuous=True) for each in (clean, repair)]
    assert checkpoint.repaired(both[0], 0.5, both[1]).continuous
    assert not checkpoint.repaired(both[0], 0.5, repair).continuous


@pytest.mark.parametrize(
    "strength", [-0.1, 1.01, float("nan"), float("inf"), "0.5", None]
)
def test_what_is_no_strength_is_refused(clean_file, strength):
    assert "from 0 (clean) to 1" in refusal(clean_file, strength)


def test_without_a_repair_model_the_wanted_name_is_told(weights, training_state):
    assert "as tiny_repair.safetensors" in refusal(weights)
    assert "give the repair weights too" in refusal(training_state)


def test_a_network_of_another_shape_is_refused(clean):
    other = training_network(replace(TINY, channels=8)).state_dict()
    assert "channels = 8 and the clean one 4" in refusal(clean, weights=other)


def test_a_network_that_was_trained_apart_is_refused(clean):
    other = training_network(seed=1).state_dict()
    assert "is another network" in refusal(clean, weights=other)


def test_a_model_on_the_line_is_no_clean_one(tmp_path, clean, repair):
    path = tmp_path / "half.safetensors"
    half = checkpoint.repaired(clean, 0.5, repair)
    spanpp_core.write_slim(path, half)
    assert spanpp_core.load(path).repair == 0.5
    assert "already at repair 0.5" in refusal(path, weights=repair)


@pytest.mark.parametrize("stated", ["", "much", "7", "nan"])
def test_what_a_strangers_file_says_is_no_obstacle(tmp_path, training_state, stated):
    path = tmp_path / "strange.safetensors"
    save_file(training_state, path, {"repair": stated})
    assert spanpp_core.load(path).repair == 0
