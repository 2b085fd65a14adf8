"""What a training step sees: pairs of patches at one scale, a function of its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from .degradation import DEGRADATIONS, Degradation
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
    def continuous(scales: Sequence[int], share: float = 0.5) -> ScaleDraw:
        """Whole scales, and fractions between them in some ``share`` of the steps."""
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
            tuple(w * (1 - share) for w in whole.weights)
            + tuple(share / len(between) for _ in between),
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
    degradation: Degradation = DEGRADATIONS["none"]
    """What low resolution suffers besides being made smaller."""
    choices: int = 1
    """Places drawn for each pair, of which the one with the most detail is taken."""

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
        side = _cut(self.patch, scale)[1]
        places = [self._crop(random, side) for _ in range(self.choices)]
        crop = max(places, key=_detail) if self.choices > 1 else places[0]
        full = torch.from_numpy(crop.astype(np.float32)).movedim(-1, 0)[None] / 255
        full = full.rot90(int(random.integers(4)), (-2, -1))
        full = full.flip(-1) if random.integers(2) else full
        return pair(full, self.patch, scale, self.degradation, random)

    def _crop(self, random: np.random.Generator, side: int) -> NDArray[np.uint8]:
        """A square of a photo, (side, side, 3) in [0, 255], at one of its sizes."""
        photo = int(random.integers(len(self.photos)))
        level = int(random.integers(len(self.photos.places[photo])))
        _, height, width = self.photos.places[photo][level]
        top = int(random.integers(height - side + 1))
        left = int(random.integers(width - side + 1))
        return self.photos.at(photo, level)[top : top + side, left : left + side]


def _detail(crop: NDArray[np.uint8]) -> float:
    """Returns the mean difference of neighbours in every second row, in green."""
    return float(np.abs(np.diff(crop[::2, :, 1].astype(np.int16))).mean())


def pair(
    full: Tensor,
    patch: int,
    scale: Fraction,
    degradation: Degradation,
    random: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Makes a pair of patches of a photo's crop, by an antialiased downscale.

    Args:
        full: (1, 3, S, S) in [0, 1], of the side that `smallest_side` says.
        patch: P, side of the low-resolution patch in pixels; for a fraction p/q it is
            rounded down to a multiple of q.
        scale: s, exact.
        degradation: What low resolution suffers besides.
        random: What draws its strengths.

    Returns:
        (1, 3, P, P) in [0, 1], rounded to steps of 1/255 as an image file would be, and
        (1, 3, P*s, P*s).
    """
    margin, _ = _cut(patch, scale)
    wide = full.shape[-1] * scale.denominator // scale.numerator
    low = degradation.smaller(full, wide, random).mul(255).round_().clamp_(0, 255)
    stored = degradation.stored(low[0].movedim(0, -1).byte().numpy(), random)
    low = torch.from_numpy(stored.astype(np.float32)).movedim(-1, 0)[None] / 255
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
