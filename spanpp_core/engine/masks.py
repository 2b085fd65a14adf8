"""Masks: one channel in [0, 1], whose areas of 0 and of 1 stay exactly that."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..resize import resize
from .prepared import Upscaling
from .tiled import Progress

ROUNDING = 1e-5
"""The largest error of interpolation between equal numbers."""


def upscale_masks(
    run: Upscaling,
    masks: Tensor,
    *,
    out: Tensor,
    on_progress: Progress | None = None,
) -> Tensor:
    """Upscales masks to the size of a run's result, with edges as sharp as the image's.

    The network leaves errors of up to 0.01 in flat areas, so that a mask would lose its
    bounding box. Where bilinear interpolation gives 0 or 1, the result is that instead.

    Args:
        run: The run of the images that the masks belong to.
        masks: (N, 1, h, w), clipped to [0, 1]. Of another size than the images, they are
            resized to it first.
        out: Where to write, (N, 1, *run.output_size).
        on_progress: As for `Upscaling.run`.

    Returns:
        ``out``, in [0, 1].

    Raises:
        ValueError: The shape of ``masks`` or ``out`` is wrong.
        MemoryError: As for `Upscaling.run`.
    """
    masks = masks.float().clamp(0, 1)  # some nodes pass booleans
    if bool((masks == masks[:1, :, :1, :1]).all()):
        return out.copy_(masks[:1, :, :1, :1].expand_as(out))
    if masks.shape[2:] != run.input_size:
        masks = resize(masks, run.input_size)
    run.run(masks, out=out, on_progress=on_progress)
    rows, cols = run.output.window
    for i in range(len(masks)):  # one at a time: memory
        made, mask = out[i : i + 1], masks[i : i + 1]
        plain = F.interpolate(
            mask.cpu(), run.output.picture, mode="bilinear", antialias=True
        )[:, :, rows, cols].to(made.device)
        made.masked_fill_(plain < ROUNDING, 0).masked_fill_(plain > 1 - ROUNDING, 1)
    return out
