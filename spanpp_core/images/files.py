"""Image files in and out, by libvips: 8 and 16 bits, alpha, grey, profiles kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# Loaders that are not hardened against hostile files stay off; libvips reads this once.
os.environ.setdefault("VIPS_BLOCK_UNTRUSTED", "1")
import pyvips  # pyright: ignore

from ..errors import ImageError, last_line
from ..whole_file import replacing

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
"""Endings of the files that are read, and written."""

_LARGEST = {".webp": 16383, ".jpg": 65535, ".jpeg": 65535}
"""Pixels that a side may have at most, where the format sets a limit one can meet."""

_SIXTEEN_BIT = (".png", ".tif", ".tiff")

_SAVE_OPTIONS = {
    ".jpg": {"Q": 95, "subsample_mode": "off"},
    ".jpeg": {"Q": 95, "subsample_mode": "off"},
    ".webp": {"Q": 95, "smart_subsample": True},
    ".tif": {"compression": "deflate"},
    ".tiff": {"compression": "deflate"},
    ".png": {},
}

_KEPT = ("icc-profile-data", "exif-", "xmp-data")
"""Metadata that still holds for the larger image."""


@dataclass(frozen=True)
class Header:
    """What an image file says of itself, upright."""

    height: int
    width: int
    channels: int
    """1 or 3, and one more with alpha."""
    bits: int
    """8 or 16 per channel."""


@dataclass(frozen=True)
class Picture:
    """An image as it is on disk, upright."""

    pixels: Tensor
    """(1, C, H, W) float32 in [0, 1]; C is 1 or 3, and one more with alpha."""
    bits: int
    """8 or 16 per channel."""
    source: pyvips.Image | None = None
    """Where the metadata comes from."""


def header(path: Path) -> Header:
    """Returns what the header of a file says; no pixels are read.

    Raises:
        ImageError: The file cannot be read.
    """
    image = _opened(path)
    bits = 16 if image.format == "ushort" else 8
    return Header(image.height, image.width, image.bands, bits)


def read(path: Path) -> Picture:
    """Reads an image: rotated by its EXIF orientation, CMYK as sRGB, palettes expanded.

    Raises:
        ImageError: The file is missing, damaged, or not an image of a readable kind.
    """
    image = _opened(path)
    try:
        array = np.asarray(image.numpy())
    except pyvips.Error as error:
        raise _damaged(path, error) from error
    array = array.reshape(image.height, image.width, image.bands)
    bits = 16 if array.dtype == np.uint16 else 8
    pixels = torch.from_numpy(array.astype(np.float32)).div_(2**bits - 1)
    return Picture(pixels.movedim(-1, 0)[None], bits, image)


def write(path: Path, picture: Picture) -> None:
    """Writes an image; the file appears whole or not at all.

    16 bits become 8 where the format holds no more (JPEG, WebP), and alpha is laid over
    black in JPEG.

    Raises:
        ImageError: The format or the size cannot be written, or the disk refused.
    """
    check_writable(path, *picture.pixels.shape[2:])
    suffix = path.suffix.lower()
    bits = picture.bits if suffix in _SIXTEEN_BIT else 8
    dtype = np.uint16 if bits == 16 else np.uint8
    top = 2**bits - 1
    channels, height, width = picture.pixels.shape[1:]
    array = np.empty((height, width, channels), dtype)
    for i in range(channels):  # by channel: the float copy stays small
        plane = picture.pixels[0, i].mul(top).round_().clamp_(0, top)
        array[..., i] = plane.numpy().astype(dtype)
    kind = ("b-w", "srgb") if bits == 8 else ("grey16", "rgb16")
    image = pyvips.Image.new_from_array(array).copy(interpretation=kind[channels > 2])
    if picture.source is not None:
        for name in picture.source.get_fields():
            if name.startswith(_KEPT):
                kept = picture.source
                image.set_type(kept.get_typeof(name), name, kept.get(name))
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)  # it is upright now
    try:
        with replacing(path) as aside:
            image.write_to_file(str(aside), **_SAVE_OPTIONS[suffix])
    except (pyvips.Error, OSError) as error:
        raise ImageError(f"{path}: could not be written ({_reason(error)})") from error


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


def _opened(path: Path) -> pyvips.Image:
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageError(f"{path}: can read {', '.join(IMAGE_SUFFIXES)} only")
    try:
        # what the library remembers of a file may be older than the file
        image = pyvips.Image.new_from_file(str(path), fail_on="error", revalidate=True)
        pages = int(str(image.get("n-pages"))) if image.get_typeof("n-pages") else 1
        if pages > 1:
            raise ImageError(
                f"{path}: has {pages} pages or frames; only single images are read"
            )
        return _in_plain_colours(image.autorot(), path)
    except (pyvips.Error, UnicodeError) as error:
        raise _damaged(path, error) from error


def _in_plain_colours(image: pyvips.Image, path: Path) -> pyvips.Image:
    """Returns an image as grey or RGB of 8 or 16 bits, with alpha if it has one."""
    if image.format in ("float", "double"):
        return (image.linear([65535.0], [0.0]) + 0.5).cast(
            "ushort"
        )  # [0, 1] in files of these
    if image.format not in ("uchar", "ushort"):
        raise ImageError(
            f"{path}: has {image.format} pixels; 8, 16 bits and float are read"
        )
    if image.interpretation == "cmyk":
        depth = 16 if image.format == "ushort" else 8
        return image.icc_transform(
            "srgb", embedded=True, input_profile="cmyk", depth=depth
        )
    if image.interpretation not in ("b-w", "grey16", "srgb", "rgb16"):
        return image.colourspace("srgb")
    return image


def _damaged(path: Path, error: Exception) -> ImageError:
    if not path.exists():
        return ImageError(f"{path}: no such file")
    return ImageError(f"{path}: damaged or not an image ({_reason(error)})")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "its name is not valid text; rename it"
    return last_line(error)
