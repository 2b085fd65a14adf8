"""The live preview of a run: what is made so far, over what was given."""

from __future__ import annotations

import time

import torch
from comfy.cli_args import LatentPreviewMethod, args
from PIL import Image
from torch import Tensor

PREVIEW_SIDE = 512
"""Longer side of the live preview in pixels, about."""

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
        return "JPEG", self._picture(frame), PREVIEW_SIDE

    def _picture(self, frame: int) -> Image.Image:
        """A frame as far as it is done; the rest is shown as it came."""
        made, given = self._result[frame], self._images[frame]
        colours = 1 if made.shape[-1] < 3 else 3
        step = max(1, max(made.shape[:2]) // PREVIEW_SIDE)
        made = made[::step, ::step, :colours].float().cpu()
        rows, cols = (
            torch.arange(length) * source // length
            for length, source in zip(made.shape[:2], given.shape[:2])
        )
        given = given[..., :colours].cpu()[rows[:, None], cols].float()
        shown = torch.where(made.any(dim=-1, keepdim=True), made, given)
        pixels = (shown.clamp(0, 1) * 255).round().byte().expand(-1, -1, 3)
        return Image.fromarray(pixels.contiguous().numpy())
