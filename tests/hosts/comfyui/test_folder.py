"""Upscale Folder in a real ComfyUI as it is installed: 200 photos, memory, a crash."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import spanpp_core
from spanpp_core.images import pillow

from .server import ComfyServer

COUNT = 200
SIZE = (320, 240)
"""Pixels of a photo, (width, height)."""

HELD_IN_FLOAT = COUNT * 4 * SIZE[0] * SIZE[1] * 3 * 4
"""Bytes that the results at x2 take as a batch of ComfyUI."""

RUN_SECONDS = 900


@pytest.fixture
def stock(
    comfy: ComfyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ComfyServer]:
    """A server of its own, to be killed, whose Python has no libvips."""
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / "pyvips.py").write_text("raise ImportError('not in a stock ComfyUI')")
    monkeypatch.setenv("PYTHONPATH", str(missing))
    server = ComfyServer(comfy.comfy, os.environ["COMFYUI_PYTHON"], tmp_path / "base")
    server.start()
    yield server
    server.stop()


def photos(folder: Path) -> None:
    """Writes crops of the bundled photo, and one file that is cut off."""
    folder.mkdir(parents=True)
    with Image.open(spanpp_core.bundled_photo()) as photo:
        for i in range(COUNT):
            left, top = (7 * i) % 150, (5 * i) % 90
            part = photo.crop((left, top, left + SIZE[0], top + SIZE[1]))
            part.save(folder / f"{i:03}.jpg", quality=92)
    whole = (folder / "100.jpg").read_bytes()
    (folder / "100.jpg").write_bytes(whole[: len(whole) // 3])


def graph() -> dict[str, Any]:
    inputs = {"folder": "input/photos", "output_folder": "", "overwrite": False}
    return {
        "model": {"class_type": "SpanPPLoadModel", "inputs": {"model_name": "bundled"}},
        "folder": {
            "class_type": "SpanPPUpscaleFolder",
            "inputs": {
                "model": ["model", 0],
                **inputs,
                "precision": "auto",
                "size": "model scale",
            },
        },
        "show": {"class_type": "PreviewAny", "inputs": {"source": ["folder", 0]}},
    }


def made(folder: Path) -> list[Path]:
    return sorted(each for each in folder.glob("*.jpg") if each.name[0] != ".")


def watched(comfy: ComfyServer, folder: Path, until: int) -> list[tuple[int, int]]:
    """Waits for so many results; returns pairs of results and bytes held meanwhile."""
    seen: list[tuple[int, int]] = []
    deadline = time.monotonic() + RUN_SECONDS
    while not seen or seen[-1][0] < until:
        assert time.monotonic() < deadline, comfy.log()[-2000:]
        seen.append((len(made(folder)), comfy.memory()))
        time.sleep(0.2)
    return seen


def test_200_photos_in_constant_memory_killed_and_resumed(stock: ComfyServer) -> None:
    photos(stock.base / "input" / "photos")
    results = stock.base / "output" / "photos-x2"
    stock.queue(graph())
    first = watched(stock, results, COUNT // 2)
    stock.kill()
    whole = {path: path.stat().st_mtime_ns for path in made(results)}
    assert COUNT // 2 <= len(whole) < COUNT - 1, "it was to be killed at work"

    stock.start()
    prompt = stock.queue(graph())
    second = watched(stock, results, COUNT - 1)
    entry = stock.wait(prompt)
    (summary,) = entry["outputs"]["show"]["text"]
    print(summary)
    counts, failed = summary.splitlines()
    left = COUNT - 1 - len(whole)
    assert counts.startswith(f"{left} upscaled, {len(whole)} already there, 1 failed")
    assert failed.startswith("100.jpg: damaged or not an image")
    for path, modified in whole.items():
        assert path.stat().st_mtime_ns == modified, "it was made again"

    for run in (first, second):
        begun = run[0][0]
        warm = max(held for count, held in run if count < begun + 20)
        most = max(held for _, held in run)
        print(
            f"from {begun} to {run[-1][0]}: {warm / 2**20:.0f} MiB in the first 20,"
            f" {most / 2**20:.0f} MiB at most"
        )
        assert most - warm < HELD_IN_FLOAT / 8, "memory grows with the files"

    expected = np.asarray(upscaled(stock.base / "input" / "photos" / "199.jpg"))
    with Image.open(results / "199.jpg") as image:
        assert image.size == (2 * SIZE[0], 2 * SIZE[1])
        difference = np.abs(np.asarray(image, np.float32) - expected)
    assert difference.mean() < 1.5, "JPEG is lossy: alike, not equal"


def upscaled(path: Path) -> np.ndarray:
    """What the core makes of a file, (H, W, 3) in [0, 255]."""
    model = spanpp_core.load(spanpp_core.bundled_model())
    picture = pillow.read(path)
    return spanpp_core.upscale(model, picture.pixels)[0].movedim(0, -1).numpy() * 255
