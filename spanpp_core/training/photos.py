"""Photos as one memory-mapped file: any crop of any of them without decoding again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

LEVELS = 3
"""A photo is used at its size, at a half and at a quarter of it, while it is large
enough: what a camera makes is soft at full size, and sharp edges teach the most."""


@dataclass(frozen=True)
class Photos:
    """Photos, each at up to `LEVELS` sizes."""

    pixels: NDArray[np.uint8]
    """All pixels of all sizes, one after the other."""
    places: Sequence[Sequence[tuple[int, int, int]]]
    """For each photo, for each size: offset, height, width."""

    def __len__(self) -> int:
        return len(self.places)

    def at(self, photo: int, level: int) -> NDArray[np.uint8]:
        """Returns a view of one size of a photo, (H, W, 3) in [0, 255]."""
        offset, height, width = self.places[photo][level]
        flat = self.pixels[offset : offset + height * width * 3]
        return flat.reshape(height, width, 3)

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
        places: list[list[tuple[int, int, int]]] = []
        offset = 0
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            for image in images:
                sizes: list[tuple[int, int, int]] = []
                for level in range(LEVELS):
                    made = image if level == 0 else _reduced(image, 2**level)
                    height, width = made.shape[:2]
                    if min(height, width) < smallest:
                        break
                    file.write(np.ascontiguousarray(made).data)
                    sizes.append((offset, height, width))
                    offset += made.size
                if sizes:
                    places.append(sizes)
        index = {"key": key, "places": places}
        _index_of(path).write_text(json.dumps(index))
        partial.replace(path)
        return Photos(_mapped(path), places)

    @staticmethod
    def open(path: Path, key: str) -> Photos | None:
        """Opens what `pack` wrote with the same ``key``; None if there is no such."""
        if not path.exists() or not _index_of(path).exists():
            return None
        index: dict[str, Any] = json.loads(_index_of(path).read_text())
        return Photos(_mapped(path), index["places"]) if index["key"] == key else None


def _index_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _mapped(path: Path) -> NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, "u1")


def _reduced(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    height, width = (side // factor * factor for side in image.shape[:2])
    x = torch.from_numpy(np.ascontiguousarray(image[:height, :width]))
    x = x.movedim(-1, 0)[None].float()
    size = (height // factor, width // factor)
    if 0 in size:
        return np.empty((*size, 3), np.uint8)
    y = F.interpolate(x, size, mode="bicubic", antialias=True)
    return y[0].round_().clamp_(0, 255).byte().movedim(0, -1).numpy()
