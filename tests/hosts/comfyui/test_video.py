"""Upscale Video in a real server: loaded, upscaled, stopped, gone on with, saved."""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from .server import ComfyServer, messages_of

sys.path.append(str(Path(__file__).parents[2] / "video"))
from clips import BT709, LIMITED, Contents, contents, write_clip

MEBIBYTE = 2**20


def prompt_of(
    clip: str, scale: float, save_as: str = "auto", **more: Any
) -> dict[str, Any]:
    upscale = {"codec": "libx264", "container": "mp4", "precision": "auto"}
    upscale |= {"size": "model scale", **more}
    links = {"model": ["2", 0], "video": ["3", 0]}
    custom = {"scale": scale}
    save = {"filename_prefix": "tests/video", "format": save_as, "format.codec": "auto"}

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


def offered(comfy: ComfyServer, node: str, name: str) -> list[str]:
    """The options of a combo, in the form of either generation."""
    info = comfy.get(f"/object_info/{node}")[node]["input"]
    kind, *more = {**info["required"], **info.get("optional", {})}[name]
    options = kind if isinstance(kind, list) else more[0]["options"]
    return [each["key"] if isinstance(each, dict) else each for each in options]


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_every_codec_is_saved_whole_by_save_video(
    comfy: ComfyServer, container: str
) -> None:
    """Enough frames for key frames and B-frames, which Matroska stores without dts."""
    name = f"saved-{container}.mp4"
    times = [512 * i for i in range(280)]
    source = write_clip(comfy.base / "input" / name, times=times, size=(20, 64))
    before = contents(source)
    formats = {"auto"} | ({"mkv"} & set(offered(comfy, "SaveVideo", "format")))
    codecs = offered(comfy, "SpanPPUpscaleVideo", "codec")
    assert "prores_ks" not in codecs
    assert offered(comfy, "SpanPPUpscaleVideo", "container") == ["mp4", "mkv"]
    for codec in codecs:
        for save_as in formats if container == "mkv" else ["auto"]:
            prompt = prompt_of(name, 2, save_as, codec=codec, container=container)
            after = saved(comfy, comfy.run(prompt))
            case = f"{codec} in {container}, saved as {save_as}"
            assert len(after.times) == len(before.times), case
            assert after.video["size"] == (40, 128), case
            # Save Video moves all of a file along where sound begins before zero
            for at, expected in zip(after.times, before.times):
                assert abs(at - after.times[0] - expected) < Fraction(1, 900), case
            assert len(after.packets["audio"]) == len(before.packets["audio"]), case


def test_a_size_and_a_quality_are_kept_to(comfy: ComfyServer) -> None:
    write_clip(comfy.base / "input" / "sized.mp4", size=(36, 64))
    size = {"size": "width", "size.width": 100, "multiple_of": "8"}
    sizes: list[int] = []
    for crf in (10, 40):
        entry = comfy.run(prompt_of("sized.mp4", 2, crf=crf, **size))
        (path,) = comfy.saved_files(entry, "5")
        assert contents(path).video["size"] == (56, 96)
        sizes.append(path.stat().st_size)
    assert sizes[0] > 1.5 * sizes[1]


def test_frames_made_in_comfyui_may_be_odd(comfy: ComfyServer) -> None:
    prompt = prompt_of("", 2)
    prompt["7"] = {
        "class_type": "EmptyImage",
        "inputs": {"width": 51, "height": 41, "batch_size": 6, "color": 0xC02040},
    }
    prompt["3"] = {
        "class_type": "CreateVideo",
        "inputs": {"images": ["7", 0], "fps": 12},
    }
    after = saved(comfy, comfy.run(prompt))
    assert after.video["size"] == (82, 102)
    assert len(after.times) == 6


def test_a_trimmed_video_is_cut_exactly(comfy: ComfyServer) -> None:
    if "Video Slice" not in comfy.get("/object_info"):
        pytest.skip("this ComfyUI has no Trim Video")
    write_clip(comfy.base / "input" / "long-enough.mp4", size=(21, 33), codec="mpeg4")
    prompt = prompt_of("long-enough.mp4", 2)
    prompt["8"] = prompt["3"]
    cut = {"video": ["8", 0], "start_time": 0.08, "duration": 0.2}
    prompt["3"] = {
        "class_type": "Video Slice",
        "inputs": {**cut, "strict_duration": False},
    }
    after = saved(comfy, comfy.run(prompt))
    assert [float(time) for time in after.times] == pytest.approx(
        [0, 0.04, 0.08, 0.12, 0.16], abs=1e-3
    )


def test_a_file_that_is_no_video_is_one_sentence(comfy: ComfyServer) -> None:
    (comfy.base / "input" / "cut.mp4").write_bytes(b"\0" * 1000)
    said = comfy.failure(prompt_of("cut.mp4", 2))
    assert "damaged or not a video" in said
    assert "--" not in said
