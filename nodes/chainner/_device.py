"""chaiNNer's settings and tile sizes, as the core's arguments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from api import Progress
from nodes.impl.upscale.auto_split_tiles import ESTIMATE, TileSize
from packages.chaiNNer_pytorch.settings import PyTorchSettings

from spanpp_core import SpanPPDescriptor, fitting_dtype


def dtype_for(settings: PyTorchSettings, model: SpanPPDescriptor) -> torch.dtype:
    """Returns what to run a model in: chaiNNer chooses *FP16 Mode* where it is fast."""
    wanted = torch.float16 if settings.use_fp16 else torch.float32
    return fitting_dtype(model, wanted)


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


@contextmanager
def stoppable(model: SpanPPDescriptor, progress: Progress) -> Iterator[None]:
    """Looks before every convolution whether the user pressed Stop or Pause.

    chaiNNer waits three seconds and then restarts its worker; on a busy CPU one batch of
    tiles takes longer.
    """
    with ExitStack() as hooks:
        for module in model.model.modules():
            if isinstance(module, torch.nn.Conv2d):
                hook = module.register_forward_pre_hook(lambda *_: progress.suspend())
                hooks.callback(hook.remove)
        yield
