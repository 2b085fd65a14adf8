"""Load SpanPP and Model Info: files, repair models, what is told of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from node_calls import load
from stand_in_host import Host
from tiny import fine_tuned


def test_loading_attaches_a_patcher_that_views_carry(host: Host) -> None:
    model = load(host)
    node = host.node("SpanPPSetScale")
    view, scale = node.execute(model, 3.0).values
    assert model.patcher.model is model.model
    assert view.patcher is model.patcher
    assert (view.scale, scale, model.scale) == (3, 3.0, 2)


@pytest.mark.parametrize("name", ["SpanPPSetScale", "SpanPPModelInfo"])
def test_another_model_is_refused_by_name(host: Host, name: str) -> None:
    class Other:
        architecture = type("A", (), {"name": "ESRGAN"})

    with pytest.raises(
        TypeError, match=r"found another network, ESRGAN; .* connect Load SpanPP"
    ):
        host.node(name).execute(Other())


def test_loading_reads_a_file_again_when_it_changed(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(host.core.bundled_model().read_bytes())
    host.models["mine.safetensors"] = path
    node = host.node("SpanPPLoadModel")
    before = node.fingerprint_inputs("mine.safetensors")
    assert node.fingerprint_inputs("mine.safetensors") == before
    path.write_bytes(path.read_bytes() + b" ")
    assert node.fingerprint_inputs("mine.safetensors") != before


def test_a_name_that_comes_by_a_link_does_not_run_all_again(host: Host) -> None:
    """ComfyUI passes None then, and takes an error for a change at every run."""
    assert host.node("SpanPPLoadModel").fingerprint_inputs(None, repair=None) == ""


@pytest.fixture
def pair(host: Host, tmp_path: Path) -> Any:
    """A clean file that the host lists, with a repair model beside it."""
    clean = host.core.read(host.core.bundled_model())
    path = tmp_path / "mine.safetensors"
    host.core.write_slim(path, clean)
    beside = replace(clean, state_dict=fine_tuned(clean.state_dict))
    host.core.write_slim(tmp_path / "mine_repair.safetensors", beside)
    host.models["mine.safetensors"] = path
    return path


@pytest.mark.parametrize("repair", [0.0, 0.4, 1.0])
def test_repair_is_that_of_the_core(host: Host, pair: Path, repair: float) -> None:
    model, _ = host.node("SpanPPLoadModel").execute("mine.safetensors", repair).values
    expected = host.core.load(pair, repair=repair)
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(model(x), expected(x))
    view, _ = host.node("SpanPPSetScale").execute(model, 3.0).values
    (info,) = host.node("SpanPPModelInfo").execute(view).values
    assert f"repair: {repair:g} (0: clean, 1: full repair)" in info.splitlines()


def test_prompts_of_before_there_was_a_repair_give_the_clean_model(
    host: Host, pair: Path
) -> None:
    repair = host.node("SpanPPLoadModel").define_schema().inputs[-1]
    assert repair.id == "repair", "widgets are saved by position: new ones come last"
    assert (repair.options["optional"], repair.options["default"]) == (True, 0)
    model, _ = host.node("SpanPPLoadModel").execute("mine.safetensors").values
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(model(x), host.core.load(pair)(x))


def test_a_new_repair_model_is_read_again(host: Host, pair: Path) -> None:
    node = host.node("SpanPPLoadModel")
    before = node.fingerprint_inputs("mine.safetensors", repair=0.5)
    assert node.fingerprint_inputs("mine.safetensors", repair=0.5) == before
    beside = pair.with_name("mine_repair.safetensors")
    beside.write_bytes(beside.read_bytes() + b" ")
    assert node.fingerprint_inputs("mine.safetensors", repair=0.5) != before


def test_without_a_repair_model_its_name_is_told(host: Host, pair: Path) -> None:
    pair.with_name("mine_repair.safetensors").unlink()
    with pytest.raises(ValueError, match=r"as mine_repair\.safetensors"):
        host.node("SpanPPLoadModel").execute("mine.safetensors", 0.5)


def test_a_missing_file_is_named(host: Host) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model 'gone.pth' in models/"):
        host.node("SpanPPLoadModel").execute("gone.pth")


def test_model_info_says_what_is_bound(host: Host) -> None:
    output = host.node("SpanPPModelInfo").execute(load(host).at_scale(2.5))
    (info,) = output.values
    assert output.ui == {"text": (info,)}
    lines = info.splitlines()
    assert lines[:2] == ["file: bundled", "stored as: fused weights, float16"]
    assert lines[2:4] == ["scale: x2.5", "trained scales: x1, x2, x3, x4"]
    assert "fractional scales: native (trained on them)" in lines
    assert lines[-1] == "float32 on cpu"
