"""Every template runs as it is on a fresh install, and gives what the core gives."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor

import spanpp_core
from spanpp_core import Size

from .graphs import prompt_of
from .server import PACK, ComfyServer

sys.path.append(str(Path(__file__).parents[2] / "video"))
from clips import contents

ONE_STEP = 1 / 255 + 1e-6
"""Saved images have 8 bits: results may fall on either side of a rounding."""


def run_template(comfy: ComfyServer, name: str) -> tuple[dict[str, Any], list[Path]]:
    workflow = json.loads((PACK / "workflows" / f"{name}.json").read_text("utf-8"))
    prompt = prompt_of(workflow, comfy.get("/object_info"))
    entry = comfy.run(prompt)
    files = [
        path
        for node in prompt
        if prompt[node]["class_type"].startswith("Save")
        for path in comfy.saved_files(entry, node)
    ]
    return prompt, files


def pixels(path: Path) -> Tensor:
    """An image file as (N, 3, H, W) in [0, 1]."""
    with Image.open(path) as image:
        frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    return torch.from_numpy(np.stack(frames)).movedim(-1, 1) / 255


def demo_photo(longer_side: int) -> Tensor:
    with Image.open(spanpp_core.bundled_photo()) as photo:
        photo.thumbnail((longer_side, longer_side), Image.Resampling.LANCZOS)
        array = np.asarray(photo.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(array).movedim(-1, 0)[None]


@pytest.fixture(scope="module")
def model() -> spanpp_core.SpanPPDescriptor:
    """In the precision that the templates, which say "auto", run in on a processor."""
    dtype = spanpp_core.fastest_dtype(torch.device("cpu"))
    return spanpp_core.load(spanpp_core.bundled_model(), dtype=dtype)


def test_first_upscale(comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor) -> None:
    _, (saved,) = run_template(comfy, "first-upscale")
    expected = spanpp_core.upscale(model.at_scale(2), demo_photo(384))
    assert torch.allclose(pixels(saved), expected, atol=ONE_STEP, rtol=0)


def test_three_scales(comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor) -> None:
    _, files = run_template(comfy, "three-scales")
    photo = demo_photo(256)
    assert len(files) == 3
    for path, factor in zip(files, (1.5, 2.0, 3.0)):
        size = Size(factor=factor)
        expected = spanpp_core.upscale(model, photo, size=size)
        assert torch.allclose(pixels(path), expected, atol=ONE_STEP, rtol=0), factor


def test_exact_size(comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor) -> None:
    _, (saved,) = run_template(comfy, "exact-size")
    photo = demo_photo(384)
    size = Size(fit=(1280, 720))
    out = size.of(*photo.shape[-2:], 2)
    assert out.width == 1280 or out.height == 720
    expected = spanpp_core.upscale(model, photo, size=size)
    assert torch.allclose(pixels(saved), expected, atol=ONE_STEP, rtol=0)


def test_frame_batch(comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor) -> None:
    _, (saved,) = run_template(comfy, "frame-batch")
    frames = pixels(saved)
    photo = demo_photo(256)
    width = photo.shape[-1] - 2 * 11
    first = spanpp_core.upscale(model.at_scale(2), photo[..., :width])
    assert frames.shape == (12, 3, 2 * photo.shape[-2], 2 * width)
    # WebP is lossy: alike, not equal
    assert (frames[:1] - first).square().mean() < 1e-3
    assert (frames[0] - frames[-1]).abs().max() > 0.1, "the frames do not move"


def test_upscale_video(comfy: ComfyServer) -> None:
    _, (saved,) = run_template(comfy, "upscale-video")
    photo = demo_photo(256)
    width = photo.shape[-1] - 2 * 11
    found = contents(saved)
    assert found.times == [Fraction(i, 12) for i in range(12)]
    assert found.video["size"] == (2 * photo.shape[-2], 2 * width)
    assert (found.frames[0] != found.frames[-1]).any(), "the frames do not move"


def test_core_nodes(comfy: ComfyServer) -> None:
    _, (saved,) = run_template(comfy, "core-nodes")
    model = spanpp_core.load(spanpp_core.bundled_model())  # theirs run in float32
    expected = spanpp_core.upscale(model.at_scale(3), demo_photo(256))
    assert torch.allclose(pixels(saved), expected, atol=ONE_STEP, rtol=0)


def test_before_and_after(
    comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor
) -> None:
    _, (saved,) = run_template(comfy, "before-and-after")
    photo = demo_photo(256)
    after = spanpp_core.upscale(model.at_scale(4), photo)
    expected = spanpp_core.split_view(photo, after, 0.5)
    assert torch.allclose(pixels(saved), expected, atol=ONE_STEP, rtol=0)


def test_every_template_is_tested_here() -> None:
    tested = {
        name.removeprefix("test_").replace("_", "-")
        for name in globals()
        if name.startswith("test_")
    }
    assert {path.stem for path in (PACK / "workflows").glob("*.json")} <= tested
