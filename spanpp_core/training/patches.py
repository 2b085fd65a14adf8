"""What a training step sees: pairs of patches at one scale, a function of its number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from ..network.device_tables import to_device
from .degradation import DEGRADATIONS, Degradation
from .downscale import downscale
from .photos import Photos
from .scale_draw import ScaleDraw

MARGIN = 4
"""Low-resolution pixels around a patch that are made and thrown away: at the edge of a
crop the filter of the resize lacks what the photo has beyond it."""


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
