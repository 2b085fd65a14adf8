"""Every template runs as it is on a fresh install, and gives what the core gives."""

from __future__ import annotations

import json
import os
import re
import sys
from fractions import Fraction
from io import BytesIO
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


def graph_of(comfy: ComfyServer, name: str) -> dict[str, Any]:
    workflow = json.loads((PACK / "workflows" / f"{name}.json").read_text("utf-8"))
    return prompt_of(workflow, comfy.get("/object_info"))


def run_template(comfy: ComfyServer, name: str) -> list[Path]:
    """Runs a template and returns the files that it saved or shows."""
    return files_of(comfy, graph_of(comfy, name))


def files_of(comfy: ComfyServer, prompt: dict[str, Any]) -> list[Path]:
    entry = comfy.run(prompt)
    return [
        path
        for node in prompt
        if prompt[node]["class_type"].startswith(("Save", "SpanPPCompare"))
        for path in comfy.saved_files(entry, node)
    ]


def pixels(path: Path) -> Tensor:
    """An image file as (N, 3, H, W) in [0, 1]."""
    with Image.open(path) as image:
        frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    return torch.from_numpy(np.stack(frames)).movedim(-1, 1) / 255


def demo_photo(longer_side: int, jpeg_quality: int = 0) -> Tensor:
    with Image.open(spanpp_core.bundled_photo()) as photo:
        photo.thumbnail((longer_side, longer_side), Image.Resampling.LANCZOS)
        stored = photo.convert("RGB")
    if jpeg_quality:
        stored.save(file := BytesIO(), "JPEG", quality=jpeg_quality)
        stored = Image.open(file)
    array = np.asarray(stored, dtype=np.float32) / 255
    return torch.from_numpy(array).movedim(-1, 0)[None]


@pytest.fixture(scope="module")
def model() -> spanpp_core.SpanPPDescriptor:
    """In the precision that the templates, which say "auto", run in on a processor."""
    dtype = spanpp_core.fastest_dtype(torch.device("cpu"))
    return spanpp_core.load(spanpp_core.bundled_model(), dtype=dtype)


def test_upscale_a_photo(
    comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor
) -> None:
    (saved,) = run_template(comfy, "Upscale a photo")
    expected = spanpp_core.upscale(model.at_scale(2), demo_photo(384))
    assert torch.allclose(pixels(saved), expected, atol=ONE_STEP, rtol=0)


def test_one_model_three_scales(
    comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor
) -> None:
    files = run_template(comfy, "One model, three scales")
    photo = demo_photo(256)
    assert len(files) == 3
    for path, factor in zip(files, (1.5, 2.0, 3.0)):
        size = Size(factor=factor)
        expected = spanpp_core.upscale(model, photo, size=size)
        assert torch.allclose(pixels(path), expected, atol=ONE_STEP, rtol=0), factor


def test_repair_a_jpeg(comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor) -> None:
    files = run_template(comfy, "Repair a JPEG")
    photo = demo_photo(256, jpeg_quality=40)
    assert len(files) == 3
    for path, repair in zip(files, (0, 0.5, 1)):
        bundled = spanpp_core.bundled_model()
        repaired = spanpp_core.load(bundled, repair=repair, dtype=model.dtype)
        expected = spanpp_core.upscale(repaired.at_scale(2), photo)
        assert torch.allclose(pixels(path), expected, atol=ONE_STEP, rtol=0), repair
    first, _, last = map(pixels, files)
    assert (first - last).abs().mean() > 1e-3, "repair changes nothing"


def test_fit_into_1280x720(
    comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor
) -> None:
    (saved,) = run_template(comfy, "Fit into 1280x720")
    photo = demo_photo(384)
    size = Size(fit=(1280, 720))
    out = size.of(*photo.shape[-2:], 2)
    assert out.width == 1280 or out.height == 720
    expected = spanpp_core.upscale(model, photo, size=size)
    assert torch.allclose(pixels(saved), expected, atol=ONE_STEP, rtol=0)


def test_upscale_a_batch_of_frames(
    comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor
) -> None:
    (saved,) = run_template(comfy, "Upscale a batch of frames")
    frames = pixels(saved)
    photo = demo_photo(256)
    width = photo.shape[-1] - 2 * 11
    first = spanpp_core.upscale(model.at_scale(2), photo[..., :width])
    assert frames.shape == (12, 3, 2 * photo.shape[-2], 2 * width)
    # WebP is lossy: alike, not equal
    assert (frames[:1] - first).square().mean() < 1e-3
    assert (frames[0] - frames[-1]).abs().max() > 0.1, "the frames do not move"


def test_upscale_a_video(comfy: ComfyServer) -> None:
    (saved,) = run_template(comfy, "Upscale a video")
    photo = demo_photo(256)
    width = photo.shape[-1] - 2 * 11
    found = contents(saved)
    assert found.times == [Fraction(i, 12) for i in range(12)]
    assert found.video["size"] == (2 * photo.shape[-2], 2 * width)
    assert (found.frames[0] != found.frames[-1]).any(), "the frames do not move"


def test_with_comfyui_s_own_upscale_node(comfy: ComfyServer) -> None:
    (saved,) = run_template(comfy, "With ComfyUI's own upscale node")
    model = spanpp_core.load(spanpp_core.bundled_model())  # theirs run in float32
    expected = spanpp_core.upscale(model.at_scale(3), demo_photo(256))
    assert torch.allclose(pixels(saved), expected, atol=ONE_STEP, rtol=0)


def test_before_and_after(
    comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor
) -> None:
    (saved,) = run_template(comfy, "Before and after")
    photo = demo_photo(256)
    after = spanpp_core.upscale(model.at_scale(4), photo)
    expected = spanpp_core.split_view(photo, after, 0.5)
    assert torch.allclose(pixels(saved), expected, atol=ONE_STEP, rtol=0)


def test_photo_upscaler_app(
    comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor
) -> None:
    (saved,) = run_template(comfy, "Photo upscaler.app")
    photo = pixels(comfy.base / "input" / "example.png")
    expected = spanpp_core.upscale(model.at_scale(2), photo)
    assert torch.allclose(pixels(saved), expected, atol=ONE_STEP, rtol=0)


def test_upscale_a_folder(
    comfy: ComfyServer, model: spanpp_core.SpanPPDescriptor
) -> None:
    run_template(comfy, "Upscale a folder")
    photo = pixels(comfy.base / "input" / "example.png")
    made = pixels(comfy.base / "output" / "input-x2" / "example.png")
    expected = spanpp_core.upscale(model.at_scale(2), photo)
    assert torch.allclose(made, expected, atol=ONE_STEP, rtol=0)


def test_hires_fix_x1_5(comfy: ComfyServer) -> None:
    """As it is, it asks for its checkpoint; with one of these shapes it runs."""
    prompt = graph_of(comfy, "Hires fix x1.5")
    (loader,) = nodes_of(prompt, "CheckpointLoaderSimple")
    name = prompt[loader]["inputs"]["ckpt_name"]
    answer = comfy.post("/prompt", {"prompt": prompt})
    assert set(answer["node_errors"]) == {loader}
    assert name in json.dumps(answer["node_errors"])
    checkpoint = os.environ.get("SD15_CHECKPOINT")
    if not checkpoint:
        pytest.skip("SD15_CHECKPOINT not set: name a file to run the passes with")
    folder = comfy.base / "models" / "checkpoints"
    folder.mkdir(exist_ok=True)
    (folder / name).symlink_to(checkpoint)
    (latent,) = nodes_of(prompt, "EmptyLatentImage")
    prompt[latent]["inputs"] |= {"width": 128, "height": 128}
    for node in nodes_of(prompt, "KSampler"):
        prompt[node]["inputs"]["steps"] = 2  # one is none at a denoise of 0.5
    (saved,) = files_of(comfy, prompt)
    with Image.open(saved) as image:
        assert image.size == (192, 192)
        assert np.asarray(image).std() > 1


def nodes_of(prompt: dict[str, Any], kind: str) -> list[str]:
    return [node for node in prompt if prompt[node]["class_type"] == kind]


def test_every_template_is_tested_here() -> None:
    for path in (PACK / "workflows").glob("*.json"):
        name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower())
        assert f"test_{name}" in globals(), path.stem
