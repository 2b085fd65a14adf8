"""The repair strength of Load SpanPP in a running host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import fine_tuned

import spanpp_core

from .prompts import by_core, load, node, save, saved_pixels, upscale
from .server import ComfyServer, executed_nodes

CLEAN = "repairable.safetensors"


@pytest.fixture(scope="module", autouse=True)
def clean_file(comfy: ComfyServer) -> Path:
    """A clean file in the host's folder, with a repair model beside it."""
    folder = comfy.base / "models" / "upscale_models"
    clean = spanpp_core.read(spanpp_core.bundled_model())
    spanpp_core.write_slim(folder / CLEAN, clean)
    repair = replace(clean, state_dict=fine_tuned(clean.state_dict))
    spanpp_core.write_slim(folder / "repairable_repair.safetensors", repair)
    return folder / CLEAN


def loader(repair: object = None) -> dict[str, Any]:
    given = {} if repair is None else {"repair": repair}
    return node("SpanPPLoadModel", model_name=CLEAN, **given)


def photo(comfy: ComfyServer) -> torch.Tensor:
    """What the nodes get from the demo photo as a JPEG of quality 40."""
    prompt = {"1": demo(), "2": save("1", "photo")}
    pixels = saved_pixels(comfy, comfy.run(prompt), "2")
    return torch.from_numpy(pixels).movedim(-1, 0)[None] / 255


def assert_cut_off(saved: np.ndarray, made: np.ndarray) -> None:
    """The host saves whole numbers: what was made, with its fraction cut off."""
    rounding = 1e-3  # of float32: the host's tiles are others
    assert (np.floor(made - rounding) <= saved).all()
    assert (saved <= np.floor(made + rounding)).all()


def demo() -> dict[str, Any]:
    return node("SpanPPDemoPhoto", longer_side=64, frames=1, jpeg_quality=40)


@pytest.mark.parametrize("repair", [None, 0.0, 0.35, 1.0])
def test_both_upscale_nodes_give_the_pictures_of_the_core(
    comfy: ComfyServer, clean_file: Path, repair: float | None
) -> None:
    """None: a prompt of before there was a repair."""
    prompt = {
        "1": loader(repair),
        "2": demo(),
        "3": upscale("1", "2"),
        "4": by_core("1", "2"),
        "5": save("3", "ours"),
        "6": save("4", "theirs"),
        "7": node("SpanPPModelInfo", model=["1", 0]),
    }
    entry = comfy.run(prompt)
    model = spanpp_core.load(clean_file, repair=repair or 0)
    y = spanpp_core.upscale(model, photo(comfy))[0].movedim(0, -1) * 255
    for saved in ("5", "6"):
        assert_cut_off(saved_pixels(comfy, entry, saved), y.numpy())
    (info,) = entry["outputs"]["7"]["text"]
    assert f"repair: {repair or 0:g} (0: clean" in info


def test_only_what_depends_on_the_strength_runs_again(comfy: ComfyServer) -> None:
    prompt = {
        "1": loader(0.2),
        "2": loader(0.4),
        "3": demo(),
        "4": upscale("1", "3"),
        "5": upscale("2", "3"),
        "6": save("4", "a"),
        "7": save("5", "b"),
    }
    comfy.run(prompt)
    prompt["2"]["inputs"]["repair"] = 0.6
    assert executed_nodes(comfy.run(prompt), prompt) == {"2", "5", "7"}


def test_a_repair_model_that_was_trained_anew_is_read_again(
    comfy: ComfyServer, clean_file: Path
) -> None:
    prompt = {
        "1": loader(1.0),
        "2": demo(),
        "3": upscale("1", "2"),
        "4": save("3", "n"),
    }
    comfy.run(prompt)
    assert not executed_nodes(comfy.run(prompt), prompt)
    path = clean_file.with_name("repairable_repair.safetensors")
    path.write_bytes(path.read_bytes())
    assert {"1", "3", "4"} <= executed_nodes(comfy.run(prompt), prompt)


def test_the_strength_can_be_connected(comfy: ComfyServer) -> None:
    prompt = {
        "1": loader(["2", 0]),
        "2": node("PrimitiveFloat", value=0.25),
        "3": node("SpanPPModelInfo", model=["1", 0]),
    }
    (info,) = comfy.run(prompt)["outputs"]["3"]["text"]
    assert "repair: 0.25 " in info


@pytest.mark.parametrize("repair", [-0.1, 1.1])
def test_a_strength_out_of_range_is_refused_before_it_runs(
    comfy: ComfyServer, repair: float
) -> None:
    prompt = {"1": loader(repair), "2": node("SpanPPModelInfo", model=["1", 0])}
    answer = comfy.post("/prompt", {"prompt": prompt})
    assert "repair" in str(answer["node_errors"]["1"])


def test_a_file_without_a_repair_model_says_what_to_put_where(
    comfy: ComfyServer, clean_file: Path
) -> None:
    alone = clean_file.with_name("alone.safetensors")
    alone.write_bytes(clean_file.read_bytes())
    prompt = {"1": load(alone.name), "2": node("SpanPPModelInfo", model=["1", 0])}
    prompt["1"]["inputs"]["repair"] = 0.5
    message = comfy.failure(prompt)
    assert "as alone_repair.safetensors" in message
    assert "\n" not in message


def test_the_stock_loader_reads_both_files_of_a_pair(
    comfy: ComfyServer, clean_file: Path
) -> None:
    for name in (CLEAN, "repairable_repair.safetensors"):
        prompt = {
            "1": node("UpscaleModelLoader", model_name=name),
            "2": demo(),
            "3": by_core("1", "2"),
            "4": save("3", "stock"),
        }
        entry = comfy.run(prompt)
        model = spanpp_core.load(clean_file.with_name(name))
        y = spanpp_core.upscale(model, photo(comfy))[0].movedim(0, -1) * 255
        assert_cut_off(saved_pixels(comfy, entry, "4"), y.numpy())
