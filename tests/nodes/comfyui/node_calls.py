"""What the tests of the nodes call, and with what."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stand_in_host import Host


def is_newer(host: Host) -> bool:
    return "search_aliases" in vars(host.node("SpanPPUpscale").define_schema())


def picked(host: Host, choice: str, option: str, **values: Any) -> dict[str, Any]:
    """The arguments by which a host passes a choice and its nested values."""
    if is_newer(host):
        return {choice: {choice: option, **values}}
    return {choice: option, **{f"{choice}.{name}": v for name, v in values.items()}}


def load(host: Host) -> Any:
    return host.node("SpanPPLoadModel").execute("bundled").values[0]


def upscale(host: Host, model: Any, image: torch.Tensor, **more: Any) -> Any:
    arguments = {"precision": "float32", "method": "downscale", **more}
    if "size" not in arguments:
        arguments |= picked(host, "size", "model scale")
    return host.node("SpanPPUpscale").execute(model, image, **arguments)


def images(n: int = 1, height: int = 20, width: int = 24, channels: int = 3):
    return torch.rand(
        n, height, width, channels, generator=torch.Generator().manual_seed(1)
    )


def to_bytes(image: torch.Tensor) -> np.ndarray:
    return image.mul(255).round().byte().numpy()
