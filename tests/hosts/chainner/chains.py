"""Chains of nodes from file to file, and what the core makes of the same picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from chainner_backend import Graph
from PIL import Image

import spanpp_core

OUR_LOADER = "spanpp:pytorch:load_model"
STOCK_LOADER = "chainner:pytorch:load_model"
SET_SCALE = "spanpp:pytorch:set_scale"
UPSCALE = "spanpp:pytorch:upscale_image"
STOCK_UPSCALE = "chainner:pytorch:upscale_image"
MODEL = str(spanpp_core.bundled_model())


def picture(mode: str, height: int = 22, width: int = 30) -> np.ndarray:
    """A smooth picture in [0, 255], with noise: (height, width[, channels])."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    channels = len(Image.new(mode, (1, 1)).getbands())
    waves = [np.sin(x / (3 + c)) + np.cos(y / (2 + c)) for c in range(channels)]
    image = (
        127 + 50 * np.stack(waves, -1) + random.normal(0, 6, (height, width, channels))
    )
    return np.squeeze(image.clip(0, 255).astype(np.uint8))


def saved(folder: Path, pixels: np.ndarray, name: str = "in") -> str:
    Image.fromarray(pixels).save(folder / f"{name}.png")
    return str(folder / f"{name}.png")


def upscaling(
    graph: Graph,
    folder: Path,
    pixels: np.ndarray,
    scale: float,
    *,
    loader: str = OUR_LOADER,
    node: str = UPSCALE,
    weights: dict[str, Any] | None = None,
    **inputs: Any,
) -> tuple[str, str]:
    """Adds a whole chain from file to file; returns the loader's and upscaler's ids."""
    image = graph.add("chainner:image:load", i0=saved(folder, pixels))
    model = graph.add(loader, **(weights or {"i0": MODEL}))
    scaled = graph.add(SET_SCALE, i0=(model, 0), i1=scale)
    if node == UPSCALE:
        inputs = {"i0": (image, 0), "i1": (scaled, 0), **inputs}
    else:
        inputs = {"i1": (image, 0), "i0": (scaled, 0), **inputs}
    upscaled = graph.add(node, **inputs)
    graph.add("chainner:image:save", i0=(upscaled, 0), i1=str(folder), i3="out")
    return model, upscaled


def written(folder: Path) -> np.ndarray:
    return np.asarray(Image.open(folder / "out.png"))


def by_core(pixels: np.ndarray, scale: float, tile: int | None = None) -> np.ndarray:
    """What `spanpp_core.upscale` makes of RGB pixels, in [0, 255] and unrounded."""
    model = spanpp_core.load(MODEL).at_scale(scale)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    return 255 * spanpp_core.upscale(model, x, tile=tile)[0].permute(1, 2, 0).numpy()


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    worst = np.abs(found - expected).max()
    assert worst <= 1.0, f"differs from spanpp_core by {worst:.2f}/255"
