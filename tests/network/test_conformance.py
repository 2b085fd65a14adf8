"""Outputs of the public implementation, from every kind of file and wrapper."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import DATA

import spanpp_core
from spanpp_core import checkpoint

FILES = ("c16_k3_s1234.safetensors", "c12_k5_s2346.safetensors", "c16_k3_stale_ema.pth")

WRAPPERS = (
    "params_ema",
    "params-ema",
    "params",
    "params_g",
    "state_dict",
    "model_state_dict",
    "net_g",
    "net_g_ema",
    "model",
)
PREFIXES = (
    "module.",
    "_orig_mod.",
    "net_g.",
    "netG.",
    "net_g_ema.",
    "module._orig_mod.",
)


def worst_difference(model: spanpp_core.SpanPPDescriptor, name: str) -> float:
    """The largest difference from the stored outputs, relative to their peak."""
    stored = load_file(DATA / f"{Path(name).stem}.io.safetensors")
    x = stored.pop("input")
    assert {int(key.removeprefix("output_x")) for key in stored} == set(model.scales)
    differences = [
        (model.at_scale(int(key.removeprefix("output_x"))).model(x) - y).abs().max()
        / y.abs().max()
        for key, y in stored.items()
    ]
    return float(max(differences))


@pytest.mark.parametrize("name", FILES)
def test_equals_the_public_outputs(name: str):
    assert worst_difference(spanpp_core.load(DATA / name), name) < 1e-5


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("wrapper", [*WRAPPERS, *PREFIXES])
def test_every_wrapper_loads_the_same(name: str, wrapper: str, tmp_path: Path):
    state = checkpoint.find(checkpoint.read_tensors(DATA / name))
    assert state is not None
    if wrapper in PREFIXES:
        content: dict[str, object] = {wrapper + key: t for key, t in state.items()}
        content["discriminator.weight"] = torch.zeros(3)
    else:
        content = {wrapper: state, "iter": 1000, "optimizers": [{"lr": 1e-4}]}
    path = tmp_path / f"model.{'ckpt' if wrapper.endswith('.') else 'pth'}"
    torch.save(content, path)
    assert worst_difference(spanpp_core.load(path), name) < 1e-5


@pytest.mark.parametrize("name", FILES)
def test_slim_file_gives_the_same(name: str, tmp_path: Path):
    path = tmp_path / "slim.safetensors"
    checkpoint.write_slim(path, checkpoint.read(DATA / name))
    assert checkpoint.read(path).kind == "fused"
    assert worst_difference(spanpp_core.load(path), name) < 1e-5


def test_averaged_weights_are_preferred(tmp_path: Path):
    state = checkpoint.read_tensors(DATA / FILES[0])
    other = {key: tensor * 1.5 for key, tensor in state.items()}
    other["MetaIGConv"] = state["MetaIGConv"]
    torch.save({"params": other, "params_ema": state}, tmp_path / "both.pth")
    model = spanpp_core.load(tmp_path / "both.pth")
    assert worst_difference(model, FILES[0]) < 1e-5


def test_prefixed_safetensors(tmp_path: Path):
    state = load_file(DATA / FILES[0])
    save_file({f"net_g.{k}": t for k, t in state.items()}, tmp_path / "m.safetensors")
    model = spanpp_core.load(tmp_path / "m.safetensors")
    assert worst_difference(model, FILES[0]) < 1e-5


def test_stale_caches_are_ignored_and_named():
    found = checkpoint.read(DATA / "c16_k3_stale_ema.pth")
    assert found.kind == "training"
    assert "conv0.conv_3x3_rep.weight" in found.stale_caches
