"""Photos as one memory-mapped file: any crop of any of them without decoding again."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..atomic_file import replacing, write_atomically

LEVELS = 3
"""A photo is used at its size, at a half and at a quarter of it, while it is large
enough: what a camera makes is soft at full size, and sharp edges teach the most."""


@dataclass(frozen=True)
class Photos:
    """Photos, each at up to `LEVELS` sizes."""

    pixels: Tensor
    """All pixels of all sizes, one after the other: (T, 3), uint8."""
    sizes: Sequence[Sequence[tuple[int, int, int]]]
    """For each photo, for each of its sizes: its first pixel, height, width."""

    def __len__(self) -> int:
        return len(self.sizes)

    def to(self, device: torch.device) -> Photos:
        """Returns the photos in the memory of a device."""
        return Photos(self.pixels.to(device), self.sizes)

    @functools.cached_property
    def _table(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many sizes each photo has, and all of `sizes` one after the other."""
        counts = np.array([len(sizes) for sizes in self.sizes], np.int64)
        rows = [size for sizes in self.sizes for size in sizes]
        return counts, np.array(rows, np.int64)

    def at(self, photo: int, level: int) -> Tensor:
        """Returns a view of one size of a photo: (H, W, 3), uint8."""
        first, height, width = self.sizes[photo][level]
        return self.pixels[first : first + height * width].view(height, width, 3)

    def places(
        self, random: np.random.Generator, count: int, side: int
    ) -> NDArray[np.int64]:
        """Draws squares of photos, in one of the eight ways to turn and mirror them.

        Args:
            random: Photos, their sizes and ways are drawn evenly.
            count: How many squares.
            side: Of each, in pixels.

        Returns:
            (count, 3): a corner, a step along the first axis, and one along the second,
            as positions in ``pixels``.
        """
        counts, table = self._table
        photo = random.integers(len(self), size=count)
        level = (random.random(count) * counts[photo]).astype(np.int64)
        chosen = table[np.cumsum(counts)[photo] - counts[photo] + level]
        first, height, width = chosen[:, 0], chosen[:, 1], chosen[:, 2]
        top = (random.random(count) * (height - side + 1)).astype(np.int64)
        left = (random.random(count) * (width - side + 1)).astype(np.int64)
        way = random.integers(8, size=count)
        upwards, leftwards, turned = way & 1, way >> 1 & 1, way >> 2 == 1
        row = top + upwards * (side - 1)
        column = left + leftwards * (side - 1)
        down, right = width * (1 - 2 * upwards), 1 - 2 * leftwards
        first_step, second_step = (
            np.where(turned, right, down),
            np.where(turned, down, right),
        )
        return np.stack([first + row * width + column, first_step, second_step], 1)

    def squares(
        self, corner: Tensor, down: Tensor, right: Tensor, side: int, every: int = 1
    ) -> Tensor:
        """Returns squares at `places`: (N, 3, side, side), uint8, or some of their rows."""
        along = torch.arange(side, device=corner.device)
        rows = along[::every, None] * down[:, None, None]
        columns = along * right[:, None, None]
        found = self.pixels[corner[:, None, None] + rows + columns]
        return found.movedim(-1, 1)

    @staticmethod
    def pack(
        images: Iterable[NDArray[np.uint8]], path: Path, smallest: int, key: str
    ) -> Photos:
        """Writes photos to ``path`` and its index beside it, and opens them.

        Args:
            images: (H, W, 3) each, in [0, 255]; read one at a time.
            path: Where the pixels go; three bytes for each, and a third for the smaller
                sizes.
            smallest: Shorter side in pixels below which a size is left out.
            key: What `open` must be given to find this file again.
        """
        every: list[list[tuple[int, int, int]]] = []
        offset = 0  # in pixels
        _index_of(path).unlink(missing_ok=True)  # it is of other pixels
        with replacing(path) as aside, aside.open("wb") as file:
            for image in images:
                sizes: list[tuple[int, int, int]] = []
                for level in range(LEVELS):
                    made = image if level == 0 else _reduced(image, 2**level)
                    height, width = made.shape[:2]
                    if min(height, width) < smallest:
                        break
                    file.write(np.ascontiguousarray(made).data)
                    sizes.append((offset, height, width))
                    offset += height * width
                if sizes:
                    every.append(sizes)
        index = {"key": key, "sizes": every}
        write_atomically(_index_of(path), json.dumps(index).encode())
        return Photos(_mapped(path), every)

    @staticmethod
    def open(path: Path, key: str) -> Photos | None:
        """Opens what `pack` wrote with the same ``key``; None if there is no such."""
        if not path.exists() or not _index_of(path).exists():
            return None
        index: dict[str, Any] = json.loads(_index_of(path).read_text())
        if index.get("key") != key or "sizes" not in index:
            return None  # of other photos, or of an older form
        return Photos(_mapped(path), index["sizes"])


def _index_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _mapped(path: Path) -> Tensor:
    """Returns the pixels of a file; what is read stays on disk until it is looked at."""
    if not path.stat().st_size:
        return torch.empty(0, 3, dtype=torch.uint8)
    # PyTorch has no tensors that cannot be written: these change in memory only
    return torch.from_numpy(np.memmap(path, np.uint8, "c")).view(-1, 3)


def _reduced(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    height, width = (side // factor * factor for side in image.shape[:2])
    x = torch.from_numpy(np.ascontiguousarray(image[:height, :width]))
    x = x.movedim(-1, 0)[None].float()
    size = (height // factor, width // factor)
    if 0 in size:
        return np.empty((*size, 3), np.uint8)
    y = F.interpolate(x, size, mode="bicubic", antialias=True)
    return y[0].round_().clamp_(0, 255).byte().movedim(0, -1).numpy()
