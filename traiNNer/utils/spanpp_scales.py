"""Many scales from one data set: which one is next, and what it is compared with.

Nothing here knows the trainer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch.distributed
from torch import Tensor

from traiNNer.spanpp_core.resize import resize

MAX_SCALE = 8


def checked_scales(scale_list: Any, largest: int) -> tuple[int, ...]:
    """Returns the scales to train, ascending, each once.

    Args:
        scale_list: ``network_g.scale_list`` of a config; None means 1 to ``largest``.
        largest: ``scale`` of the config, which is that of the training pairs.

    Raises:
        ValueError: It is no list of whole numbers from 1 to 8 that ends with ``largest``.

    Example:
        >>> checked_scales([4, 1, 2], 4)
        (1, 2, 4)
    """
    if scale_list is None:
        scale_list = range(1, largest + 1)
    elif not isinstance(scale_list, list | tuple) or not scale_list:
        raise ValueError(
            f"scale_list is {scale_list!r}; give a list of whole scales, such as"
            " [1, 2, 3, 4]"
        )
    for value in scale_list:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and value in range(1, MAX_SCALE + 1)):
            raise ValueError(
                f"scale_list holds {value!r}; give whole numbers from 1 to {MAX_SCALE}"
            )
    scales = tuple(sorted({int(value) for value in scale_list}))
    if scales[-1] != largest:
        raise ValueError(
            f"scale is {largest} and the largest of scale_list is {scales[-1]}; they"
            " must be equal, because the training pairs are those of the largest scale"
        )
    return scales


def checked_eval_scale(eval_base_scale: Any, scales: Sequence[int]) -> int:
    """Returns the scale of validation, by default the largest.

    Raises:
        ValueError: ``eval_base_scale`` is not one of ``scales``.
    """
    if eval_base_scale is None:
        return scales[-1]
    if isinstance(eval_base_scale, bool) or eval_base_scale not in scales:
        raise ValueError(
            f"eval_base_scale is {eval_base_scale!r}; give one of scale_list,"
            f" {list(scales)}"
        )
    return int(eval_base_scale)


def drawn_scale(seed: int, iteration: int, part: int, scales: Sequence[int]) -> int:
    """Draws the scale of one pass, each as likely as the others.

    It depends on nothing but the arguments: a resumed run draws on where it stopped,
    every GPU draws the same, and data loading and augmentation change nothing.

    Args:
        seed: ``manual_seed``.
        iteration: The iteration, as the trainer counts.
        part: Which of the passes whose gradients are accumulated in it.
        scales: What to draw from.
    """
    return random.Random(f"{seed}/{iteration}/{part}").choice(scales)  # noqa: S311


def shared_seed(seed: int | None) -> int | None:
    """Returns the seed of the first process in all of them, when each has its own."""
    seeds = [seed]
    torch.distributed.broadcast_object_list(seeds, src=0)
    return seeds[0]


def ground_truth_at(scale: int, gt: Tensor, size: tuple[int, int]) -> Tensor:
    """Makes of the ground truth of a larger scale that of ``scale``.

    Antialiased, or the targets of small scales would teach the network to alias.

    Args:
        scale: The scale of the result.
        gt: (N, C, H, W) in [0, 1], at this or a larger scale.
        size: (h, w) of the low-resolution images.

    Returns:
        (N, C, h * scale, w * scale)
    """
    wanted = (size[0] * scale, size[1] * scale)
    return gt if gt.shape[-2:] == wanted else resize(gt, wanted)


def pair_scale(gt: tuple[int, int], lq: tuple[int, int]) -> int | None:
    """Returns the scale of a pair of images, or None if they are no pair.

    Up to a pixel short of the next multiple may be left over at the right and bottom
    of the ground truth, where its sides are no multiples of the scale.

    Args:
        gt: (H, W) of the ground truth.
        lq: (h, w) of the low-resolution image.
    """
    scale = gt[0] // lq[0]
    exact = all(0 <= large - small * scale < scale for large, small in zip(gt, lq))
    return scale if exact else None


def wrong_pair(
    gt: tuple[int, int],
    lq: tuple[int, int],
    training: bool,
    scale: int,
    eval_scale: int,
) -> str | None:
    """Says what is wrong with a pair of images of (H, W) pixels, if anything."""
    found = pair_scale(gt, lq)
    if training:
        right = gt == (lq[0] * scale, lq[1] * scale)
        wanted = (
            f"the training pairs must be exactly x{scale}, the largest of scale_list"
        )
    else:
        right = found is not None and found >= eval_scale
        wanted = f"validation takes pairs of x{eval_scale}, eval_base_scale, or larger"
    if right:
        return None
    is_that = f"x{found}" if found else "no whole scale"
    return f"{gt[1]}x{gt[0]} of a low-resolution {lq[1]}x{lq[0]} is {is_that}; {wanted}"
