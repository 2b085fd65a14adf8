"""chaiNNer's settings and tile sizes, as the core's arguments."""

from __future__ import annotations

import numpy as np
import torch
from nodes.impl.upscale.auto_split_tiles import ESTIMATE, TileSize
from packages.chaiNNer_pytorch.settings import PyTorchSettings


def dtype_for(settings: PyTorchSettings) -> torch.dtype:
    return torch.float16 if settings.use_fp16 else torch.float32


def memory_limit(settings: PyTorchSettings) -> int | None:
    """Returns chaiNNer's *Memory Budget Limit* in bytes, or None if there is none."""
    return settings.budget_limit * 2**30 or None


def tile_edge(tile_size: TileSize, image: np.ndarray) -> int | None:
    """Returns the edge of the tiles in pixels, or None to let the core choose.

    Both *Maximum* and *No Tiling* (negative numbers in chaiNNer) are one tile.
    """
    if tile_size == ESTIMATE:
        return None
    return tile_size if tile_size > 0 else max(image.shape[:2])
