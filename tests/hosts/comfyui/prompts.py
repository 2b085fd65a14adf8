"""Prompts in parts: a node of each kind that the tests use."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from .server import ComfyServer


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def load(name: str = "bundled") -> dict[str, Any]:
    return node("SpanPPLoadModel", model_name=name)


def set_scale(model: str, scale: object) -> dict[str, Any]:
    return node("SpanPPSetScale", model=[model, 0], scale=scale)


def upscale(
    model: str, image: str, size: str = "model scale", **more: Any
) -> dict[str, Any]:
    defaults = {"precision": "float32", "method": "downscale"}
    links = {"model": [model, 0], "image": [image, 0]}
    return node("SpanPPUpscale", **links, **{**defaults, **more}, size=size)


def by_core(model: str, image: str) -> dict[str, Any]:
    """ComfyUI's own upscale node."""
    return node("ImageUpscaleWithModel", upscale_model=[model, 0], image=[image, 0])


def frames(count: int, height: int, width: int, channels: int = 3) -> dict[str, Any]:
    return node(
        "TestFrames", frames=count, height=height, width=width, channels=channels
    )


def save(image: str, name: str) -> dict[str, Any]:
    return node("SaveImage", images=[image, 0], filename_prefix=f"tests/{name}")


def shown(source: str, output: int = 0) -> dict[str, Any]:
    return node("PreviewAny", source=[source, output])


def saved_pixels(comfy: ComfyServer, entry: dict[str, Any], node_id: str) -> np.ndarray:
    (path,) = comfy.saved_files(entry, node_id)
    with Image.open(path) as image:
        return np.asarray(image).astype(int)
