"""What a training step sees: pairs of patches at one scale, a function of its number."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from ..errors import TrainingError
from ..network.device_tables import to_device
from .degradation import DEGRADATIONS, Degradation
from .downscale import downscale
from .photos import Photos

MARGIN = 4
"""Low-resolution pixels around a patch that are made and thrown away: at the edge of a
crop the filter of the resize lacks what the photo has beyond it."""

_FEWEST_PHASES = 7
"""Numerator up to which simple fractions are drawn: p/q has p * p kernels to make."""


BETWEEN = 24
"""Scales that are drawn where any may be: on a GPU each becomes a graph of its own."""


class Batch(NamedTuple):
    """Pairs of patches of one step."""

    low: Tensor
    """(N, 3, P, P), uint8."""
    high: Tensor
    """(N, 3, P*s, P*s), uint8."""
    scale: float

    def unit(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Returns both on a device, in [0, 1]."""
        low, high = (image.to(device).float() / 255 for image in self[:2])
        return low, high


@dataclass(frozen=True)
class ScaleDraw:
    """The scales that steps are drawn from, and how often each comes."""

    scales: tuple[Fraction, ...]
    weights: tuple[float, ...]
    """The share of steps at each of them."""
    between: float = 0.0
    """The share of steps at `scales_between`; 1 with the others. Simple fractions alone
    leave some positions of a pixel's cell untrained."""

    @staticmethod
    def whole(scales: Sequence[int], shares: Sequence[float] = ()) -> ScaleDraw:
        """Some whole scales, equally often or in proportion to ``shares``."""
        shares = shares or [1.0] * len(scales)
        total = sum(shares)
        return ScaleDraw(
            tuple(Fraction(s) for s in scales), tuple(s / total for s in shares)
        )

    @staticmethod
    def continuous(
        scales: Sequence[int],
        fractions: float = 0.5,
        shares: Sequence[float] = (),
        between: float = 0.0,
        often: Mapping[str, float] | None = None,
    ) -> ScaleDraw:
        """Whole scales, and simple fractions between them.

        Args:
            scales: Whole.
            fractions: The share of steps at simple fractions.
            shares: Of the whole scales, in proportion to each other.
            between: The share of steps at any scale between the smallest and the largest.
            often: How often some of the simple fractions come, such as {"5/2": 6};
                each other counts 1.

        Raises:
            TrainingError: One of ``often`` is none of the simple fractions.
        """
        low, high = min(scales), max(scales)
        simple = sorted(
            {
                Fraction(p, q)
                for q in range(2, 5)
                for p in range(low * q, high * q)
                if p % q and Fraction(p, q).numerator <= _FEWEST_PHASES
            }
        )
        often = often or {}
        names = [str(scale) for scale in simple]
        unknown = ", ".join(sorted(set(often) - set(names)))
        if unknown:
            known = ", ".join(names) or f"none from x{low} to x{high}"
            raise TrainingError(
                f"often names {unknown}; the simple fractions are {known}"
            )
        whole = ScaleDraw.whole(scales, shares)
        if not simple:
            return whole
        rest = 1 - fractions - between
        times = [often.get(name, 1.0) for name in names]
        return ScaleDraw(
            whole.scales + tuple(simple),
            tuple(w * rest for w in whole.weights)
            + tuple(fractions * each / sum(times) for each in times),
            between,
        )

    def draw(self, random: np.random.Generator, patch: int) -> Fraction:
        """Draws a scale; see `scales_between` for the last share."""
        between = scales_between(int(min(self.scales)), int(max(self.scales)), patch)
        if between and random.random() < self.between:
            return between[int(random.integers(len(between)))]
        weights = np.asarray(self.weights)
        return self.scales[random.choice(len(weights), p=weights / weights.sum())]


@functools.cache
def scales_between(low: int, high: int, patch: int) -> tuple[Fraction, ...]:
    """Returns `BETWEEN` scales at most, spread evenly, that share no simple position.

    A patch of P pixels becomes N pixels at N/P; with no common divisor the output pixels
    lie at N positions of their cells, both edges of a cell among them.
    """
    prime = [n for n in range(low * patch, high * patch) if math.gcd(n, patch) == 1]
    every = max(1, len(prime) // BETWEEN)
    return tuple(Fraction(n, patch) for n in prime[::every])


def smallest_side(patch: int, draw: ScaleDraw) -> int:
    """Returns the shorter side that a photo must have at least, in pixels."""
    return _Cut.of(patch, max(draw.scales)).side


class _Cut(NamedTuple):
    """Where a pair of patches lies in a crop of a photo."""

    cells: int
    """Side of the low-resolution patch: P, or less for P*s to be whole."""
    edge: int
    """Pixels of the photo around what becomes the high-resolution patch."""
    inside: int
    """Side of that patch."""

    @property
    def side(self) -> int:
        return self.inside + 2 * self.edge

    @staticmethod
    def of(patch: int, scale: Fraction) -> _Cut:
        cells = patch // scale.denominator * scale.denominator
        return _Cut(cells, _edge(scale), int(cells * scale))


def _edge(scale: Fraction) -> int:
    """Returns how many pixels of the photo `MARGIN` takes."""
    return math.ceil(MARGIN * scale)


@dataclass(frozen=True)
class Patches(Dataset[Batch]):
    """Item ``i`` is the batch of step ``i``, the same at every call, in any process.

    It is made where the photos are: on a GPU that holds them, a batch takes about a
    millisecond.
    """

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
    """What low resolution suffers besides being made smaller; not on a GPU."""
    choices: int = 1
    """Places drawn for each pair, of which the one with the most detail is taken."""
    flat: float = 0.0
    """The share of pairs that are of one colour: photos have few such places, and what a
    network makes of a colour alone is seen at once."""

    def scale(self, step: int) -> Fraction:
        """Returns the scale of a step."""
        return self.draw.draw(np.random.default_rng((self.seed, step)), self.patch)

    @override
    def __getitem__(self, step: int) -> Batch:
        scale = self.scale(step)
        random = np.random.default_rng((self.seed, step, self.rank + 1))
        cut = _Cut.of(self.patch, scale)
        full = self._some_flat(random, self._crops(random, cut.side))
        low = low_resolution(full, cut.cells, scale, self.degradation, random)
        inside = slice(cut.edge, cut.edge + cut.inside)
        return Batch(low, full[..., inside, inside], float(scale))

    def _some_flat(self, random: np.random.Generator, full: Tensor) -> Tensor:
        """Puts one colour each in place of some of the crops."""
        chosen = np.flatnonzero(random.random(self.batch) < self.flat)
        if not len(chosen):
            return full
        drawn = random.integers(256, size=(len(chosen), 3))
        at, colours = (
            to_device(torch.from_numpy(each), full.device) for each in (chosen, drawn)
        )
        colours = colours.byte()[..., None, None].expand(-1, -1, *full.shape[2:])
        return full.index_copy(0, at, colours)

    def _crops(self, random: np.random.Generator, side: int) -> Tensor:
        """Squares of photos, turned and mirrored: (N, 3, side, side), uint8."""
        photos = self.photos
        drawn = photos.places(random, self.batch * self.choices, side)
        corner, down, right = to_device(
            torch.from_numpy(drawn), photos.pixels.device
        ).unbind(1)  # (C * N,)
        if self.choices > 1:
            green = photos.squares(corner, down, right, side, every=2)[:, 1].short()
            detail = green.diff(dim=-1).abs().float().mean((1, 2))
            best = detail.view(-1, self.batch).argmax(0)
            best = best * self.batch + torch.arange(self.batch, device=best.device)
            corner, down, right = corner[best], down[best], right[best]
        return photos.squares(corner, down, right, side)


def low_resolution(
    full: Tensor,
    cells: int,
    scale: Fraction,
    degradation: Degradation,
    random: np.random.Generator,
) -> Tensor:
    """Makes the low-resolution patches of crops, by an antialiased downscale.

    Args:
        full: (N, 3, S, S), uint8: ``cells * scale`` pixels, and ``MARGIN * scale`` rounded
            up around them.
        cells: P, side of the patches.
        scale: s.
        degradation: What low resolution suffers besides.
        random: What draws its strengths.

    Returns:
        (N, 3, P, P), uint8, as an image file would have them.
    """
    edge = _edge(scale)
    if degradation.is_none:
        return _bytes(downscale(full.float(), scale, range(cells), edge))
    wide = range(-MARGIN, cells + MARGIN)
    made: list[NDArray[np.uint8]] = []
    for each in full:
        small = degradation.smaller(each[None].float(), scale, wide, edge, random)
        pixels = _bytes(small)[0].movedim(0, -1).numpy()
        made.append(degradation.stored(pixels, random))
    low = torch.from_numpy(np.stack(made)).movedim(-1, 1)
    return low[..., MARGIN : MARGIN + cells, MARGIN : MARGIN + cells]


def _bytes(image: Tensor) -> Tensor:
    return image.round().clamp(0, 255).byte()
