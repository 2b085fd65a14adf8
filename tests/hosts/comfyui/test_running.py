"""How the nodes behave while they run: stopping, memory, caching, files."""

from __future__ import annotations

import json
import shutil
import time
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import spanpp_core

from .prompts import frames, load, node, save, saved_pixels, upscale
from .server import PACK, ComfyServer, executed_nodes, messages_of

MEBIBYTE = 2**20


def test_stop_takes_effect_within_a_tile(comfy: ComfyServer) -> None:
    prompt = {
        "1": load(),
        "2": frames(1, 2000, 2000),
        "3": upscale("1", "2", "factor", **{"size.factor": 4.0}),
        "4": save("3", "stopped"),
    }
    prompt["3"]["inputs"]["tile"] = 128  # 256 tiles
    prompt_id = comfy.queue(prompt)
    while "SpanPPUpscale" not in str(comfy.get("/queue")["queue_running"]):
        time.sleep(0.1)
    time.sleep(4)
    asked = time.monotonic()
    comfy.post("/interrupt", {})
    entry = comfy.wait(prompt_id, seconds=60)
    took = time.monotonic() - asked
    assert messages_of(entry, "execution_interrupted"), entry["status"]
    assert took < 5, f"stopping took {took:.1f} s, a tile of 128 takes far less"


@pytest.mark.parametrize("tile", [0, 64])
def test_running_out_of_memory_is_survived(comfy: ComfyServer, tile: int) -> None:
    prompt = {
        "1": load(),
        "2": frames(2, 150, 170),
        "3": node("TestScarceMemory", model=["1", 0], pixels=100 * 100),
        "4": upscale("3", "2"),
        "5": upscale("1", "2"),
        "6": save("4", "scarce"),
        "7": save("5", "ample"),
    }
    prompt["4"]["inputs"]["tile"] = tile
    entry = comfy.run(prompt)
    pairs = zip(comfy.saved_files(entry, "6"), comfy.saved_files(entry, "7"))
    for scarce, ample in pairs:
        with Image.open(scarce) as a, Image.open(ample) as b:
            difference = np.asarray(a).astype(int) - np.asarray(b).astype(int)
        assert abs(difference).max() <= 1


def test_only_what_depends_on_a_scale_runs_again(comfy: ComfyServer) -> None:
    prompt = {
        "1": load(),
        "2": frames(1, 40, 48),
        "3": node("SpanPPSetScale", model=["1", 0], scale=2.0),
        "4": node("SpanPPSetScale", model=["1", 0], scale=3.0),
        "5": upscale("3", "2"),
        "6": upscale("4", "2"),
        "7": save("5", "two"),
        "8": save("6", "three"),
    }
    comfy.run(prompt)
    prompt["4"]["inputs"]["scale"] = 4.0
    entry = comfy.run(prompt)
    assert executed_nodes(entry, prompt) == {"4", "6", "8"}
    assert saved_pixels(comfy, entry, "8").shape == (160, 192, 3)


@pytest.mark.parametrize("channels", [3, 4])
def test_channels_are_kept(comfy: ComfyServer, channels: int) -> None:
    prompt = {
        "1": load(),
        "2": frames(1, 33, 41, channels),
        "3": node("SpanPPSetScale", model=["1", 0], scale=1.5),
        "4": upscale("3", "2"),
        "5": node("PreviewAny", source=["4", 1]),
        "6": save("4", f"channels{channels}"),
    }
    entry = comfy.run(prompt)
    assert entry["outputs"]["5"]["text"] == [str(round(41 * 1.5))]
    assert saved_pixels(comfy, entry, "6").shape == (50, 62, channels)


def test_a_mask_becomes_the_alpha_of_the_larger_image(comfy: ComfyServer) -> None:
    mask = {"value": 1.0, "width": 40, "height": 30}
    prompt = {
        "1": load(),
        "2": frames(1, 30, 40),
        "3": node("SolidMask", **mask),
        "4": node("FeatherMask", mask=["3", 0], left=10, top=0, right=0, bottom=0),
        "5": upscale("1", "2", mask=["4", 0]),
        "6": node("JoinImageWithAlpha", image=["5", 0], alpha=["5", 4]),
        "7": save("6", "alpha"),
    }
    alpha = saved_pixels(comfy, comfy.run(prompt), "7")[..., 3]
    assert alpha.shape == (60, 80)
    assert (alpha[:, 24:] == 0).all(), "the mask is 1 there: nothing is seen"
    assert alpha[:, 0].min() > 200
    assert (np.diff(alpha[:, :18:2]) < 0).all(), "it falls from cell to cell"


def test_the_prompt_in_the_docs_runs(comfy: ComfyServer) -> None:
    page = (PACK / "docs" / "comfyui.md").read_text("utf-8")
    prompt = json.loads(page.partition("```json")[2].partition("```")[0])
    with Image.open(comfy.base / "input" / "example.png") as image:
        width, height = image.size
    made = saved_pixels(comfy, comfy.run(prompt), "4")
    assert made.shape == (round(1.5 * height), round(1.5 * width), 3)


def test_many_frames_need_the_result_and_little_more(comfy: ComfyServer) -> None:
    count, height, width = 32, 540, 960
    result = count * 2 * height * 2 * width * 3 * 4
    prompt = {
        "1": load(),
        "2": frames(count, height, width),
        "3": node("PreviewAny", source=["2", 0]),
    }
    comfy.run(prompt)
    before = comfy.memory()
    comfy.reset_peak_memory()
    prompt["4"] = upscale("1", "2")
    prompt["5"] = node("PreviewAny", source=["4", 3])
    entry = comfy.run(prompt)
    more = comfy.peak_memory() - before - result
    print(f"{entry['outputs']['5']['text'][0]}: result + {more / MEBIBYTE:.0f} MiB")
    assert more < 1024 * MEBIBYTE


@pytest.mark.parametrize("wrapper", [None, "params_ema", "state_dict"])
def test_core_loader_reads_spanpp_and_feeds_our_nodes(
    comfy: ComfyServer, wrapper: str | None
) -> None:
    folder = comfy.base / "models" / "upscale_models"
    if wrapper is None:
        name = "mine.safetensors"
        shutil.copy(spanpp_core.bundled_model(), folder / name)
    else:
        name = f"{wrapper}.pth"
        weights = load_file(spanpp_core.bundled_model())
        torch.save({wrapper: weights, "iter": 7}, folder / name)
    prompt = {
        "1": node("UpscaleModelLoader", model_name=name),
        "2": frames(1, 40, 48),
        "3": node("SpanPPSetScale", model=["1", 0], scale=3.0),
        "4": node("SpanPPSetScale", model=["1", 0], scale=4.0),
        "5": node("ImageUpscaleWithModel", upscale_model=["3", 0], image=["2", 0]),
        "6": node("ImageUpscaleWithModel", upscale_model=["4", 0], image=["2", 0]),
        "7": node("ImageUpscaleWithModel", upscale_model=["1", 0], image=["2", 0]),
        "8": upscale("4", "2"),
        "11": save("5", "core-x3"),
        "12": save("6", "core-x4"),
        "13": save("7", "core-x2"),
        "14": save("8", "ours-x4"),
    }
    entry = comfy.run(prompt)
    sizes = {i: saved_pixels(comfy, entry, i).shape for i in ("11", "12", "13")}
    assert sizes == {"11": (120, 144, 3), "12": (160, 192, 3), "13": (80, 96, 3)}
    theirs, ours = (saved_pixels(comfy, entry, i) for i in ("12", "14"))
    assert abs(theirs - ours).max() <= 1


def test_ours_after_theirs_and_theirs_after_ours(comfy: ComfyServer) -> None:
    # core's own node may move the weights: ours must find them wherever they are
    prompt = {
        "1": load(),
        "2": frames(1, 24, 24),
        "3": upscale("1", "2"),
        "4": node("ImageUpscaleWithModel", upscale_model=["1", 0], image=["3", 0]),
        "5": upscale("1", "4"),
        "6": save("5", "chain"),
    }
    assert saved_pixels(comfy, comfy.run(prompt), "6").shape == (192, 192, 3)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_precision_override_is_local_to_the_node(
    comfy: ComfyServer, precision: str
) -> None:
    prompt = {
        "1": load(),
        "2": frames(1, 24, 24),
        "3": upscale("1", "2"),
        "4": upscale("1", "2"),
        "5": node("PreviewAny", source=["3", 3]),
        "6": node("PreviewAny", source=["4", 3]),
        "7": node("SpanPPModelInfo", model=["1", 0]),
    }
    prompt["3"]["inputs"]["precision"] = precision
    outputs = comfy.run(prompt)["outputs"]
    assert f"\n{precision} ·" in outputs["5"]["text"][0]
    assert "\nfloat32 ·" in outputs["6"]["text"][0]
    assert "float32 on cpu" in outputs["7"]["text"][0]


@pytest.mark.parametrize("name", ["slim", "sub/folder/slim"])
def test_slim_file_is_written_and_loads_again(comfy: ComfyServer, name: str) -> None:
    prompt = {
        "1": load(),
        "2": node(
            "SpanPPSaveSlim", model=["1", 0], filename_prefix=name, weights="float16"
        ),
    }
    text = comfy.run(prompt)["outputs"]["2"]["text"][0]
    path = comfy.base / "output" / f"{name}_00001_.safetensors"
    assert f"{name}_00001_.safetensors" in text
    assert load_file(path)["conv_cat.weight"].dtype == torch.float16
    assert spanpp_core.load(path).scales == (1, 2, 3, 4)


def exported(name: str, kind: str = "torchscript", scales: str = "") -> dict[str, Any]:
    settings = {"precision": "float32", "overwrite": False, "scales": scales}
    link = ["1", 0]
    export = node("SpanPPExport", model=link, filename=name, format=kind, **settings)
    return {"1": load(), "2": export}


def test_exported_files_are_written_and_run(comfy: ComfyServer) -> None:
    text = comfy.run(exported("sub/m", scales="1 3"))["outputs"]["2"]["text"][0]
    assert text.count("from the model") == 2
    assert [path.name for path in sorted((comfy.base / "output/sub").glob("m*"))] == [
        "m_x1.torchscript.pt",
        "m_x3.torchscript.pt",
    ]
    program = torch.jit.load(comfy.base / "output/sub/m_x3.torchscript.pt")
    model = spanpp_core.load(spanpp_core.bundled_model()).at_scale(3)
    x = torch.rand(1, 3, 9, 7)
    assert torch.allclose(program(x), model.model(x), atol=1e-5)


def test_an_export_cannot_leave_the_output_folder(comfy: ComfyServer) -> None:
    message = comfy.failure(exported("../outside"))
    assert "leads out of ComfyUI's output folder" in message
    assert not list(comfy.base.rglob("*outside*"))


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "."])
def test_no_name_leads_out_of_the_output_folder(comfy: ComfyServer, name: str) -> None:
    before = set(comfy.base.rglob("*outside*"))
    prompt = {
        "1": load(),
        "2": node(
            "SpanPPSaveSlim", model=["1", 0], filename_prefix=name, weights="float16"
        ),
    }
    message = comfy.failure(prompt)
    assert "leads out of ComfyUI's output folder" in message
    assert set(comfy.base.rglob("*outside*")) == before


def test_the_core_is_loaded_once(comfy: ComfyServer) -> None:
    prompt = {"1": node("TestCoreCopies"), "2": node("PreviewAny", source=["1", 0])}
    (copies,) = comfy.run(prompt)["outputs"]["2"]["text"]
    assert copies.endswith("custom_nodes/spanpp.spanpp_core"), copies
    assert "\n" not in copies
