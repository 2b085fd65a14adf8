"""Whatever form a checkpoint comes in, it is the same network."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import DATA, TINY, training_network

import spanpp_core
from spanpp_core import PrecisionError, checkpoint
from spanpp_core.network.hyperparameters import Hyperparameters
from spanpp_core.network.model import SpanPP

CONV = "block_3.c2_r"


def test_hyperparameters_come_from_shapes():
    for hyper in (
        TINY,
        Hyperparameters(6, 1, 1, 4, 0, (2,)),
        Hyperparameters(5, 4, 5, 12, 3, (1, 3, 8)),
        Hyperparameters(1, 3, 3, 2, 1, (6,)),
    ):
        network = training_network(hyper)
        for state in (network.state_dict(), network.fused_state_dict()):
            found = checkpoint.parse(state)
            assert found.hyper == hyper
            model = spanpp_core.load(state)
            assert model.scales == hyper.scales
            assert model.scale == (2 if 2 in hyper.scales else hyper.scales[-1])
            y = model.model(torch.rand(1, hyper.in_channels, 4, 5))
            assert y.shape == (1, 3, 4 * model.scale, 5 * model.scale)


@pytest.mark.parametrize(
    ("meta", "scales"),
    [
        (None, (1, 2, 3, 4)),
        (torch.tensor([4, 1, 2, 2], dtype=torch.uint8), (1, 2, 4)),
        (torch.tensor([0.9999, 2.0001, 3.5]), (1, 2, 4)),
        (torch.tensor([[2, 6], [8, 2]]), (2, 6, 8)),
        (torch.tensor([], dtype=torch.uint8), (1, 2, 3, 4)),
    ],
)
def test_trained_scales(training_state, meta, scales):
    del training_state["MetaIGConv"]
    if meta is not None:
        training_state["MetaIGConv"] = meta
    assert spanpp_core.load(training_state).scales == scales


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_stored_dtype_is_told_and_read(training_state, dtype):
    stored = {
        key: t.to(dtype) if t.is_floating_point() else t
        for key, t in training_state.items()
    }
    found = checkpoint.parse(stored)
    assert found.dtype == dtype
    assert all(
        t.dtype == torch.float32
        for k, t in found.state_dict.items()
        if k != "MetaIGConv"
    )


def test_callers_dict_is_untouched(training_state):
    before = {key: tensor.clone() for key, tensor in training_state.items()}
    model = spanpp_core.load(training_state)
    model.model.half()
    with torch.no_grad():
        for tensor in model.model.state_dict().values():
            tensor.zero_()
    assert training_state.keys() == before.keys()
    assert all(torch.equal(training_state[key], before[key]) for key in before)


def test_caches_are_never_used(training_state, caplog):
    expected = spanpp_core.load(training_state).model(torch.ones(1, 3, 4, 4))
    for conv in ("conv0", CONV):
        shape = training_state[f"{conv}.conv2.weight"].shape
        training_state[f"{conv}.conv_3x3_rep.weight"] = torch.full(shape, torch.nan)
        training_state[f"{conv}.conv_3x3_rep.bias"] = torch.zeros(shape[0])
        training_state[f"{conv}.conv3.eval_conv.weight"] = torch.zeros(3)
    with caplog.at_level("DEBUG", "spanpp_core"):
        model = spanpp_core.load(training_state)
    assert torch.equal(model.model(torch.ones(1, 3, 4, 4)), expected)
    assert "fused again from the branches" in caplog.text


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".ckpt"])
def test_every_suffix_is_read(training_state, tmp_path: Path, suffix: str):
    path = tmp_path / f"model{suffix}"
    writer = save_file if suffix == ".safetensors" else torch.save
    writer(training_state, path)
    assert spanpp_core.load(path).scales == (1, 2, 3, 4)
    assert spanpp_core.load(str(path)).scales == (1, 2, 3, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_slim_file_says_what_it_is(tmp_path: Path, training_state, dtype):
    path = tmp_path / "slim.safetensors"
    checkpoint.write_slim(path, checkpoint.parse(training_state), dtype)
    with safe_open(path, "pt") as opened:
        metadata = opened.metadata()
        assert set(opened.keys()) == set(SpanPP(TINY).state_dict())
    assert metadata["architecture"] == "SpanPP"
    assert metadata["scales"] == "[1, 2, 3, 4]"
    assert '"channels": 4' in metadata["hyperparameters"]
    assert checkpoint.read(path).dtype == dtype
    assert [file.name for file in tmp_path.iterdir()] == ["slim.safetensors"]


@pytest.mark.parametrize("continuous", [True, False])
def test_slim_file_says_whether_fractions_were_trained(
    tmp_path: Path, training_state, continuous: bool
):
    path = tmp_path / "slim.safetensors"
    found = replace(checkpoint.parse(training_state), continuous=continuous)
    checkpoint.write_slim(path, found)
    assert checkpoint.read(path).continuous is continuous
    assert spanpp_core.load(path).continuous is continuous


def test_weights_in_another_memory_layout_are_written(tmp_path: Path, training_state):
    found = checkpoint.parse(training_state)
    laid_out = {
        name: each.mT.contiguous().mT if each.dim() > 1 else each
        for name, each in found.state_dict.items()
    }
    path = tmp_path / "slim.safetensors"
    checkpoint.write_slim(path, replace(found, state_dict=laid_out))
    made = checkpoint.read(path).state_dict
    assert all(torch.equal(each, made[name]) for name, each in found.state_dict.items())


def test_the_public_files_say_their_kind():
    assert checkpoint.read(DATA / "c12_k5_s2346.safetensors").kind == "training"
    assert checkpoint.read(spanpp_core.bundled_model()).kind == "fused"


@pytest.mark.skipif(
    not hasattr(torch.serialization, "safe_globals"), reason="needs PyTorch 2.5"
)
def test_what_trainers_store_beside_weights_is_no_obstacle(training_state, tmp_path):
    content = {
        "state_dict": training_state,
        "best": np.float64(31.4),
        "epoch": np.int64(3),
        "args": argparse.Namespace(lr=1e-4),
        3: "not a name",
    }
    torch.save(content, tmp_path / "model.ckpt")
    assert spanpp_core.load(tmp_path / "model.ckpt").scales == (1, 2, 3, 4)


def test_checkpoints_are_shown_in_a_line_and_told_apart(training_state):
    found, other = map(checkpoint.parse, (training_state, training_state))
    assert "channels=4" in repr(found)
    assert len(repr(found)) < 400, "no weights in it"
    assert found != other, "each is itself: tensors have no one answer"
    assert {found: 1}[found] == 1


def test_values_too_large_for_half_are_not_written(training_state, tmp_path: Path):
    training_state["conv_cat.bias"][0] = 1e5
    found = checkpoint.parse(training_state)
    with pytest.raises(PrecisionError, match="holds values too large"):
        checkpoint.write_slim(tmp_path / "m.safetensors", found, torch.float16)
    assert list(tmp_path.iterdir()) == []
