"""What a training step sees: pairs of patches at one scale, a function of its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from .photos import Photos

MARGIN = 4
"""Low-resolution pixels around a patch, at least, that are resized and thrown away: at
the edge of a crop the filter of the resize lacks what the photo has beyond it."""

_FEWEST_PHASES = 7
"""Numerator up to which fractions are drawn: p/q has p * p kernels to make a step."""


class Batch(NamedTuple):
    """Pairs of patches of one step."""

    low: Tensor
    """(N, 3, P, P) in [0, 1], in steps of 1/255."""
    high: Tensor
    """(N, 3, P*s, P*s) in [0, 1]."""
    scale: float


class ScaleDraw(NamedTuple):
    """The scales that steps are drawn from, and how often each comes."""

    scales: tuple[Fraction, ...]
    weights: tuple[float, ...]

    @staticmethod
    def whole(scales: Sequence[int]) -> ScaleDraw:
        """Each of some whole scales equally often."""
        return ScaleDraw(
            tuple(Fraction(s) for s in scales), tuple(1 / len(scales) for _ in scales)
        )

    @staticmethod
    def continuous(scales: Sequence[int]) -> ScaleDraw:
        """Whole scales in half of the steps, and fractions between them in the other."""
        low, high = min(scales), max(scales)
        between = sorted(
            {
                Fraction(p, q)
                for q in range(2, 5)
                for p in range(low * q, high * q)
                if p % q and Fraction(p, q).numerator <= _FEWEST_PHASES
            }
        )
        whole = ScaleDraw.whole(scales)
        if not between:
            return whole
        return ScaleDraw(
            whole.scales + tuple(between),
            tuple(w / 2 for w in whole.weights)
            + tuple(0.5 / len(between) for _ in between),
        )


def smallest_side(patch: int, draw: ScaleDraw) -> int:
    """Returns the shorter side that a photo must have at least, in pixels."""
    return max(_cut(patch, scale)[1] for scale in draw.scales)


@dataclass(frozen=True)
class Patches(Dataset[Batch]):
    """Item ``i`` is the batch of step ``i``, the same at every call, in any process."""

    photos: Photos
    """None of them smaller than `smallest_side`."""
    draw: ScaleDraw
    patch: int
    """P, side of the low-resolution patches in pixels."""
    batch: int
    """N, pairs a step."""
    seed: int
    rank: int = 0
    """Number of the process: all see the same scale, and each its own patches."""

    def scale(self, step: int) -> Fraction:
        """Returns the scale of a step."""
        random = np.random.default_rng((self.seed, step))
        return self.draw.scales[
            random.choice(len(self.draw.scales), p=self.draw.weights)
        ]

    @override
    def __getitem__(self, step: int) -> Batch:
        scale = self.scale(step)
        random = np.random.default_rng((self.seed, step, self.rank + 1))
        pairs = [self._pair(random, scale) for _ in range(self.batch)]
        low, high = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
        return Batch(low, high, float(scale))

    def _pair(
        self, random: np.random.Generator, scale: Fraction
    ) -> tuple[Tensor, Tensor]:
        photo = int(random.integers(len(self.photos)))
        side = _cut(self.patch, scale)[1]
        level = int(random.integers(len(self.photos.places[photo])))
        _, height, width = self.photos.places[photo][level]
        top = int(random.integers(height - side + 1))
        left = int(random.integers(width - side + 1))
        pixels = self.photos.at(photo, level)
        crop = pixels[top : top + side, left : left + side]
        full = torch.from_numpy(crop.astype(np.float32)).movedim(-1, 0)[None] / 255
        full = full.rot90(int(random.integers(4)), (-2, -1))
        return pair(full.flip(-1) if random.integers(2) else full, self.patch, scale)


def pair(full: Tensor, patch: int, scale: Fraction) -> tuple[Tensor, Tensor]:
    """Makes a pair of patches of a photo's crop, by an antialiased bicubic downscale.

    Args:
        full: (1, 3, S, S) in [0, 1], of the side that `smallest_side` says.
        patch: P, side of the low-resolution patch in pixels; for a fraction p/q it is
            rounded down to a multiple of q.
        scale: s, exact.

    Returns:
        (1, 3, P, P) in [0, 1], rounded to steps of 1/255 as an image file would be, and
        (1, 3, P*s, P*s).
    """
    margin, _ = _cut(patch, scale)
    wide = full.shape[-1] * scale.denominator // scale.numerator
    low = full
    if scale != 1:
        low = F.interpolate(full, (wide, wide), mode="bicubic", antialias=True)
    low = low.mul(255).round_().clamp_(0, 255).div_(255)
    edge = int(margin * scale)
    return (
        low[..., margin : wide - margin, margin : wide - margin],
        full[..., edge : full.shape[-2] - edge, edge : full.shape[-1] - edge],
    )


def _cut(patch: int, scale: Fraction) -> tuple[int, int]:
    """The margin in low-resolution pixels, and the crop's side in the photo's pixels."""
    q = scale.denominator
    margin = -(-MARGIN // q) * q
    return margin, int((patch // q * q + 2 * margin) * scale)
