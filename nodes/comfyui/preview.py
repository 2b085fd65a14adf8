"""The live preview of a run: what is made so far, over what was given."""

from __future__ import annotations

import time

import torch
from comfy.cli_args import LatentPreviewMethod, args
from PIL import Image
from torch import Tensor

PREVIEW_SIDE = 512
"""Longer side of the live preview in pixels, about."""

FINAL_SIDE = 4096
"""
Longer side of the last one at most. The front end writes a preview's size below it, which
people take for that of the result: so it has that size, as far as it is cheap.
"""

PREVIEW_SECONDS = 0.25
"""Least time between two live previews: more would cost more than they show."""


class LivePreview:
    """Small pictures of a result in the making, as often as they are worth it."""

    def __init__(self, images: Tensor, result: Tensor) -> None:
        """Watches ``result`` (N, H, W, C), zeros at first, being made of ``images``."""
        self._images = images
        self._result = result
        self._last = 0.0

    def due(self, done: int, total: int) -> tuple[str, Image.Image, int] | None:
        """Returns what a progress bar takes as preview, or None if there is none now.

        There is none where ComfyUI shows no previews of a sampler either.
        """
        now = time.monotonic()
        if args.preview_method == LatentPreviewMethod.NoPreviews or (
            now - self._last < PREVIEW_SECONDS and done < total
        ):
            return None
        self._last = now
        frame = min(done * len(self._result) // total, len(self._result) - 1)
        if done == total:
            picture, side = _picture(self._thinned(frame, FINAL_SIDE)), FINAL_SIDE
        else:
            picture, side = _picture(self._so_far(frame)), PREVIEW_SIDE
        # ComfyUI resizes to the side it is given, also from a smaller one
        return "JPEG", picture, min(side, max(picture.size))

    def _thinned(self, frame: int, side: int) -> Tensor:
        """The pixels of a frame in one or three colours, less than twice ``side`` of them."""
        made = self._result[frame]
        step = max(1, max(made.shape[:2]) // side)
        return made[::step, ::step, : _colours(made)].cpu()

    def _so_far(self, frame: int) -> Tensor:
        """A small frame as far as it is done; the rest is shown as it came."""
        made, given = self._thinned(frame, PREVIEW_SIDE), self._images[frame]
        rows, cols = (
            torch.arange(length) * source // length
            for length, source in zip(made.shape[:2], given.shape[:2])
        )
        given = given[..., : _colours(given)].cpu()[rows[:, None], cols]
        return torch.where(made.any(dim=-1, keepdim=True), made, given.to(made))


def _colours(pixels: Tensor) -> int:
    return 1 if pixels.shape[-1] < 3 else 3


def _picture(pixels: Tensor) -> Image.Image:
    """(H, W, 1 or 3) in [0, 1] as a picture, made in strips as it may be large."""
    strips = (
        strip.float().mul(255).round().clamp(0, 255).byte().expand(-1, -1, 3)
        for strip in pixels.split(256)
    )
    return Image.fromarray(torch.cat(list(strips)).numpy())
