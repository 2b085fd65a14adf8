"""One scale, then the size asked for: the network's output, resized and cut to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..descriptor import SpanPPDescriptor
from ..network.scale import output_size
from ..resize import resize
from .arguments import result_of
from .memory import SHARE_OF_FREE
from .size import OutputSize
from .tiled import Progress, upscale_tiled
from .transfer import copy_to

RESIZE_COPIES = 3
"""Images as large as the network's output in memory while it is resized."""


def upscale_to_size(
    model: SpanPPDescriptor,
    image: Tensor,
    tile: int,
    output: OutputSize,
    on_progress: Progress | None = None,
    *,
    out: Tensor | None = None,
    memory: int | None = None,
    free: Callable[[], int],
    meanwhile: Callable[[], None] | None = None,
) -> Tensor:
    """Upscales images by the scale that a model is bound to, and resizes them to a size.

    Args:
        model: At the scale, and in the dtype, to run.
        image: (N, C, H, W) in [0, 1].
        tile: As for `upscale_tiled`.
        output: The size of the result.
        on_progress: Called after each batch of tiles, over all images.
        out: Where to write, (N, C, *output.sides), of any strides and device.
        memory: As for `upscale_tiled`.
        free: Likewise.
        meanwhile: As for `Pipeline`.
    """
    count, _, height, width = image.shape
    made_size = output_size(height, width, model.scale)
    tiled = partial(upscale_tiled, model, tile=tile, memory=memory, free=free)
    if made_size == output.sides:
        return tiled(image, on_progress=on_progress, out=out, meanwhile=meanwhile)
    out = result_of(model, image, output.sides, out)
    shape = (1, out.shape[1], *made_size)
    rows, cols = output.window
    place = _place(model, image, shape, free)
    for i in range(count):  # one at a time: the larger image is not asked for
        report = on_progress and part_of(on_progress, i, count)
        larger = image.new_empty(shape, device=place)
        check = None if i else meanwhile
        tiled(image[i : i + 1], on_progress=report, out=larger, meanwhile=check)
        if made_size != output.picture:
            larger = resize(larger, output.picture)
        copy_to(out[i], larger[0, :, rows, cols])
    return out


def part_of(on_progress: Progress, index: int, count: int) -> Progress:
    """Turns the progress of one of several images into the progress of all."""
    return lambda done, total: on_progress(index * total + done, count * total)


def _place(
    model: SpanPPDescriptor,
    image: Tensor,
    shape: tuple[int, ...],
    free: Callable[[], int],
) -> torch.device:
    """Returns the device for the network's output before it is resized.

    The GPU if it fits there: it is resized there, and only the result leaves.
    """
    if model.device.type == "cuda":
        needed = RESIZE_COPIES * math.prod(shape) * torch.float32.itemsize
        if needed < SHARE_OF_FREE * free():
            return model.device
    return image.device
