"""Our models in the hands of ComfyUI's own nodes, of other packs and of another copy."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import spanpp_core

from .graphs import prompt_of_block
from .prompts import (
    by_core,
    frames,
    load,
    node,
    save,
    saved_pixels,
    set_scale,
    shown,
    upscale,
)
from .server import PACK, ComfyServer


@pytest.mark.parametrize(
    ("scale", "width", "height"),
    [
        (1.33, 1920, 80),
        (1.1, 80, 715),
        (2.05, 590, 70),
        (3.33, 720, 40),
        ("4/3", 1280, 60),
    ],
)
def test_core_node_leaves_no_gap_at_any_scale(
    comfy: ComfyServer, scale: float | str, width: int, height: int
) -> None:
    exact = float(scale) if isinstance(scale, float) else 4 / 3
    near = round(exact * 240) / 240
    size = {"size": "factor", "size.factor": near, "method": "native"}
    prompt = {
        "1": load(),
        "2": frames(1, height, width),
        "3": set_scale("1", scale),
        "4": by_core("3", "2"),
        "5": node("TestIsFinite", images=["4", 0]),
        "6": shown("5"),
        "7": save("4", "gap"),
        "8": upscale("1", "2", **size),
        "9": save("8", "no-gap"),
    }
    entry = comfy.run(prompt)
    sides = f"{round(width * near)}x{round(height * near)}"
    assert entry["outputs"]["6"]["text"] == [f"{sides} True"]
    theirs, ours = (saved_pixels(comfy, entry, i) for i in ("7", "9"))
    # 32 pixels of overlap are less than what the network sees: nearly equal
    assert np.abs(theirs - ours).max() <= 3


@pytest.mark.parametrize("scale", [1.0, 2.75, 8 / 3])
def test_the_block_takes_any_scale(comfy: ComfyServer, scale: float) -> None:
    inner, made = block(comfy, scale, image=["2", 0])
    prompt = {
        "2": frames(1, 30, 24),
        **inner,
        "3": node("TestIsFinite", images=made["image"]),
        "4": shown("3"),
    }
    sides = f"{round(24 * scale)}x{round(30 * scale)}"
    assert comfy.run(prompt)["outputs"]["4"]["text"] == [f"{sides} True"]


def test_the_block_takes_a_mask(comfy: ComfyServer) -> None:
    inner, made = block(comfy, 3.0, image=["2", 0], mask=["5", 0])
    prompt = {
        "2": frames(1, 30, 24),
        "5": node("SolidMask", value=1.0, width=24, height=30),
        **inner,
        "6": node("MaskToImage", mask=made["mask"]),
        "7": save("6", "mask"),
    }
    pixels = saved_pixels(comfy, comfy.run(prompt), "7")
    assert pixels.shape == (90, 72, 3)
    assert (pixels == 255).all()


def block(
    comfy: ComfyServer, scale: float, **links: list[Any]
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The prompt of the block SpanPP Upscale, and the links to its results."""
    saved = json.loads((PACK / "subgraphs" / "SpanPP Upscale.json").read_text("utf-8"))
    values = {"model_name": "bundled", "repair": 0.0, "scale": scale, **links}
    return prompt_of_block(saved, comfy.get("/object_info"), values)


def test_our_node_runs_the_very_scale(comfy: ComfyServer) -> None:
    prompt = {
        "1": load(),
        "2": frames(1, 16, 1920),
        "3": set_scale("1", 1.33),
        "4": upscale("3", "2"),
        "5": shown("4", 1),
        "6": node("SpanPPModelInfo", model=["3", 0]),
    }
    outputs = comfy.run(prompt)["outputs"]
    assert outputs["5"]["text"] == [str(round(1920 * 1.33))]
    assert "scale: x1.33 (in other nodes x1.32917)" in outputs["6"]["text"][0]


@pytest.mark.parametrize(
    ("older", "scale"),
    [
        ({"scale": "x3"}, 3.0),
        ({"scale": "custom", "scale.factor": 2.75}, 2.75),
        ({"scale": "custom", "scale.factor": ["8", 1]}, 1.5),
    ],
)
def test_prompts_saved_when_the_scale_was_a_list_run(
    comfy: ComfyServer, older: dict[str, Any], scale: float
) -> None:
    prompt = {
        "1": load(),
        "3": node("SpanPPSetScale", model=["1", 0], **older),
        "4": shown("3", 1),
        "8": set_scale("1", 1.5),
    }
    assert comfy.run(prompt)["outputs"]["4"]["text"] == [str(scale)]


def test_prompts_saved_when_nothing_was_optional_run(comfy: ComfyServer) -> None:
    older = {"precision": "float32", "tile": 0, "method": "downscale"}
    size = {"size": "fit inside", "size.width": 90, "size.height": 90}
    prompt = {
        "1": load(),
        "2": frames(1, 20, 30),
        "3": upscale("1", "2", **size, **older),
    }
    prompt["4"] = shown("3", 1)
    assert comfy.run(prompt)["outputs"]["4"]["text"] == ["90"]


def test_a_scale_may_come_as_a_text_or_a_whole_number(comfy: ComfyServer) -> None:
    prompt = {
        "1": load(),
        "2": frames(1, 8, 9),
        "3": upscale("1", "2"),
        "4": set_scale("1", ["3", 1]),
        "5": shown("4", 1),
    }
    prompt["3"]["inputs"] |= {"size": "width", "size.width": 7}
    assert comfy.run(prompt)["outputs"]["5"]["text"] == ["7.0"]


def test_what_is_no_scale_is_refused_before_it_runs(comfy: ComfyServer) -> None:
    prompt = {"1": load(), "2": set_scale("1", "two"), "3": shown("2", 1)}
    answer = comfy.post("/prompt", {"prompt": prompt})
    assert "'two' is not a factor" in str(answer["node_errors"])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_cast_by_another_node_is_not_saved(comfy: ComfyServer, dtype: str) -> None:
    settings = {"scales": "", "precision": "float32", "overwrite": True}
    prompt = {
        "1": load(),
        "2": node("TestCast", model=["1", 0], dtype=dtype),
        "3": set_scale("2", 3),
        "4": node(
            "SpanPPSaveSlim",
            model=["3", 0],
            filename_prefix=f"cast-{dtype}",
            weights="float32",
        ),
        "5": node(
            "SpanPPExport",
            model=["3", 0],
            filename=f"cast-{dtype}",
            format="safetensors",
            **settings,
        ),
        "6": node("TestCast", model=["3", 0], dtype="float32"),
        "7": shown("6"),
    }
    comfy.run(prompt)
    expected = load_file(spanpp_core.bundled_model())["conv_cat.weight"].float()
    for name in (f"cast-{dtype}_00001_", f"cast-{dtype}_slim"):
        saved = load_file(comfy.base / "output" / f"{name}.safetensors")
        assert torch.equal(saved["conv_cat.weight"], expected), name


def test_models_of_another_copy_of_the_pack_are_taken(
    comfy_with_two_copies: ComfyServer,
) -> None:
    comfy = comfy_with_two_copies
    folder = comfy.base / "models" / "upscale_models"
    (folder / "mine.safetensors").symlink_to(spanpp_core.bundled_model())
    prompt = {
        "1": node("UpscaleModelLoader", model_name="mine.safetensors"),
        "2": frames(1, 20, 24),
        "3": set_scale("1", 3),
        "4": upscale("3", "2"),
        "5": by_core("3", "2"),
        "6": save("4", "ours"),
        "7": save("5", "theirs"),
        "8": node("TestCoreCopies"),
        "9": shown("8"),
    }
    entry = comfy.run(prompt)
    assert len(entry["outputs"]["9"]["text"][0].splitlines()) == 2
    ours, theirs = (saved_pixels(comfy, entry, i) for i in ("6", "7"))
    assert ours.shape == (60, 72, 3)
    assert np.abs(ours - theirs).max() <= 1


def test_an_export_as_offered_runs_and_is_listed(comfy: ComfyServer) -> None:
    inputs = comfy.get("/object_info/SpanPPExport")["SpanPPExport"]["input"]["required"]
    offered = {
        name: options["default"]
        for name, (_, options) in inputs.items()
        if "default" in options
    }
    prompt = {
        "1": load(),
        "2": node("SpanPPExport", model=["1", 0], precision="float32", **offered),
    }
    file = "output/upscale_models/spanpp_slim.safetensors"
    said = comfy.run(prompt)["outputs"]["2"]["text"]
    assert said == [f"{file}: the same as the model"]
    for loader in ("SpanPPLoadModel", "UpscaleModelLoader"):
        names = str(comfy.get(f"/object_info/{loader}")[loader]["input"]["required"])
        assert "spanpp_slim.safetensors" in names, loader


def test_an_export_names_every_package_that_is_missing(comfy: ComfyServer) -> None:
    packages = ("onnx", "onnxruntime")
    absent = [
        name
        for name in packages
        if subprocess.run(
            [comfy.python, "-c", f"import {name}"], check=False
        ).returncode
    ]
    if not absent:
        pytest.skip("this ComfyUI has onnx and onnxruntime")
    settings = {
        "filename": "e",
        "scales": "",
        "precision": "float32",
        "overwrite": True,
    }
    prompt = {
        "1": load(),
        "2": node("SpanPPExport", model=["1", 0], format="onnx", **settings),
    }
    message = comfy.failure(prompt)
    assert f"needs {' and '.join(absent)}, which this ComfyUI does not have" in message
    assert "\n" not in message
