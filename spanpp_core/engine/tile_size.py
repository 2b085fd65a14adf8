"""How large the tiles of a model may be, and the memory that one takes at work."""

from __future__ import annotations

import math

import torch

from ..backends import fastest_backend, map_channels
from ..descriptor import SpanPPDescriptor
from .memory import pixels_that_fit, working_bytes
from .pipeline import SMALLEST_TILE

LARGE_TILE = 512
"""Edge in pixels that keeps any device busy: not worth evicting anything for more."""


def auto_tile(
    model: SpanPPDescriptor, memory: int | None = None, *, free: int | None = None
) -> int:
    """Returns the edge of the tiles that `upscale` chooses now, in input pixels.

    Args:
        model: At the scale it will run.
        memory: As for `upscale`.
        free: The bytes that are free on the device, if a host knows better than the
            device: it may count what it can evict.
    """
    read = math.isqrt(pixels_at_once(model, memory, free))
    return max(SMALLEST_TILE, read - 2 * model.model.halo)


def pixels_at_once(
    model: SpanPPDescriptor, memory: int | None, free: int | None
) -> int:
    """Returns the input pixels that may be read at once now; see `auto_tile`."""
    network, where = model.model, (model.dtype, model.device)
    backend = fastest_backend(network, model.backend, *where)
    return pixels_that_fit(
        network.hyper,
        network.scale,
        *where,
        memory,
        channels=map_channels(backend, network.hyper.channels, *where),
        pooled=backend == "openvino",
        free=free,
    )


def working_memory(
    model: SpanPPDescriptor,
    height: int,
    width: int,
    *,
    tile: int = LARGE_TILE,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> int:
    """Estimates what a tile takes at work, beside weights, input and output, in bytes.

    Args:
        model: At the scale it will run.
        height: Height of the image in pixels; a small one has smaller tiles.
        width: Width of the image in pixels.
        tile: Edge of the tiles in input pixels without their halo.
        dtype: What it will run in; None for the model's own.
        device: Where it will run; None for where it is.
    """
    network = model.model
    dtype, device = dtype or model.dtype, device or model.device
    backend = fastest_backend(network, model.backend, dtype, device)
    edge = tile + 2 * network.halo
    return working_bytes(
        network.hyper,
        network.scale,
        dtype,
        min(height, edge) * min(width, edge),
        channels=map_channels(backend, network.hyper.channels, dtype, device),
        pooled=backend == "openvino",
        on_gpu=device.type != "cpu",
    )
