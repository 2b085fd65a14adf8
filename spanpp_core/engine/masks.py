"""Masks: one channel in which nothing is 0 and all is 1, before and after."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..resize import resize
from .prepared import Upscaling
from .tiled import Progress

ROUNDING = 1e-5
"""How far an interpolation of equal numbers is from them, at most."""


def upscale_masks(
    run: Upscaling,
    masks: Tensor,
    *,
    out: Tensor,
    on_progress: Progress | None = None,
) -> Tensor:
    """Upscales masks to the size of a run's result, with edges as sharp as the image's.

    A network leaves traces of up to 0.01 in flat areas, which is enough for a mask to
    have no bounding box any more. Where bilinear interpolation is 0 or 1, this is too.

    Args:
        run: The run of the images that the masks belong to.
        masks: (N, 1, h, w), clipped to [0, 1]. Of another size than the images, they are
            resized to it first.
        out: Where to write, (N, 1, *run.output_size).
        on_progress: As for `Upscaling.run`.

    Returns:
        ``out``, in [0, 1].
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
