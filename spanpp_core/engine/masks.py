"""Masks: one channel in [0, 1], whose areas of 0 and of 1 stay exactly that."""

from __future__ import annotations

from torch import Tensor

from ..resize import resize
from .dynamic_range import extremes
from .flat_areas import keep_flat_areas
from .prepared_run import Upscaling
from .tiled import Progress


def upscale_masks(
    run: Upscaling,
    masks: Tensor,
    *,
    out: Tensor,
    on_progress: Progress | None = None,
) -> Tensor:
    """Upscales masks to the size of a run's result, with edges as sharp as the image's.

    Areas of 0 and of 1 stay that, see `keep_flat_areas`.

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
    least, largest = extremes(masks)
    if least == largest:
        return out.fill_(least)
    if masks.shape[2:] != run.input_size:
        masks = resize(masks, run.input_size)
    run.run(masks, out=out, on_progress=on_progress)
    keep_flat_areas(out, masks, run.output)
    return out
