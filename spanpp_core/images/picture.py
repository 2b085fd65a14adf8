"""What is known of an image file, and which kinds are read and written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ImageError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".exr")
"""Endings of the files that are read, and written."""

_LARGEST = {".webp": 16383, ".jpg": 65535, ".jpeg": 65535}
"""Pixels that a side may have at most, where the format sets a limit one can meet."""


@dataclass(frozen=True)
class Header:
    """What an image file says of itself, upright."""

    height: int
    width: int
    channels: int
    """1 or 3, and one more with alpha."""
    bits: int
    """8, 16 or 32 per channel."""


@dataclass(frozen=True)
class Picture:
    """An image as it is on disk, upright."""

    pixels: Tensor
    """(1, C, H, W) float32; C is 1 or 3, and one more with alpha. White is 1, and only
    files of floating point hold values outside [0, 1]."""
    bits: int
    """8, 16 or 32 per channel."""
    source: object = None
    """The metadata to keep, as the library that read the file holds it."""
    floating: bool = False
    """Whether its numbers on disk are floating point."""

    @classmethod
    def of(cls, array: NDArray[Any], source: object) -> Picture:
        """Returns the picture of an array (H, W, C) or (H, W), uint8, uint16 or float."""
        bits = min(8 * array.dtype.itemsize, 32)
        floating = array.dtype.kind == "f"
        pixels = torch.from_numpy(array.astype(np.float32))
        if not floating:
            pixels = pixels.div_(2**bits - 1)
        pixels = pixels.reshape(*array.shape[:2], -1).movedim(-1, 0)[None]
        return cls(pixels, bits, source, floating)

    def array(self, bits: int) -> NDArray[Any]:
        """Returns the pixels as an array (H, W, C): uint8, uint16 or, of 32 bits, float32."""
        channels, height, width = self.pixels.shape[1:]
        dtype = {8: np.uint8, 16: np.uint16, 32: np.float32}[bits]
        array = np.empty((height, width, channels), dtype)
        top = 2**bits - 1
        for i in range(channels):  # by channel: the float copy stays small
            plane = self.pixels[0, i]
            if bits < 32:
                plane = plane.mul(top).round_().clamp_(0, top)
            array[..., i] = plane.numpy().astype(dtype)
        return array

    def colours_and_alpha(self) -> tuple[Tensor, Tensor]:
        """Returns colours, (1 or 3, H, W), and alpha, (0 or 1, H, W)."""
        colours = 1 if self.pixels.shape[1] < 3 else 3
        return self.pixels[0, :colours], self.pixels[0, colours:]


def check_readable(path: Path) -> None:
    """Makes sure that files of this ending are read.

    Raises:
        ImageError: They are not, or there is no such file.
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        if not path.exists():
            raise ImageError(f"{path}: no such file")
        raise ImageError(f"{path}: can read {', '.join(IMAGE_SUFFIXES)} only")


def check_writable(path: Path, height: int, width: int) -> None:
    """Makes sure that an image of this size can be written to this kind of file.

    Raises:
        ImageError: It cannot.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise ImageError(f"{path}: can write {', '.join(IMAGE_SUFFIXES)} only")
    if max(height, width) > _LARGEST.get(suffix, max(height, width)):
        raise ImageError(
            f"{path}: {width}x{height} is too large for this format, whose sides have"
            f" at most {_LARGEST[suffix]} pixels; write PNG or TIFF"
        )


def damaged(path: Path, reason: str) -> ImageError:
    """Returns the error for a file that cannot be read."""
    if not path.exists():
        return ImageError(f"{path}: no such file")
    return ImageError(f"{path}: damaged or not an image ({reason})")
