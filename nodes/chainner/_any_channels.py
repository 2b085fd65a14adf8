"""chaiNNer's way of upscaling grey and transparent images, in both its generations."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
from api import Progress
from nodes.impl.upscale.convenient_upscale import convenient_upscale

ImageOp = Callable[[np.ndarray, Progress], np.ndarray]
"""Upscales an image of the model's own number of channels, and reports progress."""

TELLS_PROGRESS = "progress" in inspect.signature(convenient_upscale).parameters
"""After v0.25.1 chaiNNer splits the progress between the passes an image needs."""

CHANNELS = (
    "match Input0.channels { 4 => 4, _ => 3 }" if TELLS_PROGRESS else "Input0.channels"
)
"""Of the result, for the editor: v0.25.1 keeps grey images grey, later versions do not."""


def upscale_any_channels(
    image: np.ndarray,
    upscale: ImageOp,
    *,
    in_channels: int,
    out_channels: int,
    separate_alpha: bool,
    progress: Progress,
) -> np.ndarray:
    if TELLS_PROGRESS:
        return convenient_upscale(
            image,
            in_channels,
            out_channels,
            upscale,
            separate_alpha=separate_alpha,
            clip=False,
            progress=progress,
        )
    return convenient_upscale(
        image,
        in_channels,
        out_channels,
        lambda part: upscale(part, progress),
        separate_alpha=separate_alpha,
        clip=False,
    )
