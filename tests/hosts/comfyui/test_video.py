"""Upscale Video in a real server: loaded, upscaled, stopped, gone on with, saved."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from .server import ComfyServer, messages_of

sys.path.append(str(Path(__file__).parents[2] / "video"))
from clips import BT709, LIMITED, Contents, contents, write_clip

MEBIBYTE = 2**20


def prompt_of(clip: str, scale: float, **more: Any) -> dict[str, Any]:
    upscale = {"codec": "libx264", "container": "mp4", "precision": "auto", **more}
    links = {"model": ["2", 0], "video": ["3", 0]}
    custom = {"scale": "custom", "scale.factor": scale}
    save = {"filename_prefix": "tests/video", "format": "auto", "format.codec": "auto"}

    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    return {
        "1": node("SpanPPLoadModel", model_name="bundled"),
        "2": node("SpanPPSetScale", model=["1", 0], **custom),
        "3": node("LoadVideo", file=clip),
        "4": node("SpanPPUpscaleVideo", **links, **upscale),
        "5": node("SaveVideo", video=["4", 0], codec="auto", **save),
    }


def saved(comfy: ComfyServer, entry: dict[str, Any]) -> Contents:
    (path,) = comfy.saved_files(entry, "5")
    return contents(path)


def test_a_loaded_video_is_saved_larger(comfy: ComfyServer) -> None:
    tags = {"colorspace": BT709, "color_range": LIMITED}
    source = write_clip(comfy.base / "input" / "short.mp4", tags=tags)
    before = contents(source)
    after = saved(comfy, comfy.run(prompt_of("short.mp4", 1.5)))
    assert after.video == before.video | {"size": (26, 36)}
    assert (after.times, after.packets) == (before.times, before.packets)


def test_a_long_clip_is_not_held_in_memory_and_is_gone_on_with(
    comfy: ComfyServer,
) -> None:
    count, height, width = 300, 96, 128
    folder = comfy.base / "input"
    write_clip(folder / "few.mp4", size=(height, width))
    times = [512 * i for i in range(count)]
    long = write_clip(folder / "long.mp4", times=times, size=(height, width))
    comfy.run(prompt_of("few.mp4", 2))  # the libraries, and what they keep
    comfy.reset_peak_memory()
    began = comfy.memory()
    prompt_id = comfy.queue(prompt_of("long.mp4", 2))
    deadline = time.monotonic() + 120
    while not list((comfy.base / "temp").glob("spanpp/.*/*.segment")):
        assert time.monotonic() < deadline, comfy.log()[-2000:]
        time.sleep(0.1)
    comfy.post("/interrupt", {})
    entry = comfy.wait(prompt_id, seconds=60)
    assert messages_of(entry, "execution_interrupted"), entry["status"]
    (kept,) = (comfy.base / "temp").glob("spanpp/.*/000000.segment")
    made_at = kept.stat().st_mtime_ns
    prompt_id = comfy.queue(prompt_of("long.mp4", 2))
    while not kept.with_name("000001.segment").exists():
        assert time.monotonic() < deadline, comfy.log()[-2000:]
        time.sleep(0.1)
    assert kept.stat().st_mtime_ns == made_at, "finished work was done again"
    entry = comfy.wait(prompt_id)
    assert messages_of(entry, "execution_success"), entry["status"]
    after = saved(comfy, entry)
    assert after.times == contents(long).times
    assert after.video["size"] == (2 * height, 2 * width)
    as_images = count * 5 * height * width * 3 * 4
    grown = comfy.peak_memory() - began
    assert grown < as_images / 2, f"{grown / MEBIBYTE:.0f} MiB for a clip of 300 frames"
