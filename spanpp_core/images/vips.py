"""Image files by libvips: 8, 16 bits and floating point; alpha, grey, profiles kept."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyvips  # pyright: ignore

from ..atomic_file import replacing
from ..errors import ImageError, last_line
from .picture import Header, Picture, check_readable, check_writable, damaged

# Loaders that are not hardened against hostile files stay off.
pyvips.block_untrusted_set(True)

_MOST_CHANNELS = 4
"""RGB and alpha."""

_MOST_BITS = {".png": 16, ".tif": 32, ".tiff": 32}
"""Per channel, where a format holds more than 8."""

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

_TEXT = "png-comment-"
"""
What the texts of PNG files are called, such as the graph or the prompt of an image. Other
letters than ASCII, and spaces in a name, libvips reads but does not write as the format
wants.
"""


def header(path: Path) -> Header:
    """Returns what the header of a file says; no pixels are read.

    Raises:
        ImageError: The file cannot be read.
    """
    image = _opened(path)
    bits = {"uchar": 8, "ushort": 16}.get(str(image.format), 32)
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
        raise damaged(path, _reason(error)) from error
    return Picture.of(array.reshape(image.height, image.width, image.bands), image)


def write(path: Path, picture: Picture) -> None:
    """Writes an image; the file appears whole or not at all.

    A depth becomes the next one that the format holds, see `files.write`.

    Raises:
        ImageError: The format or the size cannot be written, or the disk refused.
    """
    check_writable(path, *picture.pixels.shape[2:])
    suffix = path.suffix.lower()
    bits = 32 if picture.floating else picture.bits
    bits = min(bits, _MOST_BITS.get(suffix, 8))
    array = picture.array(bits)
    kinds = {8: ("b-w", "srgb"), 16: ("grey16", "rgb16"), 32: ("b-w", "scrgb")}
    interpretation: str = kinds[bits][picture.pixels.shape[1] > 2]
    image = pyvips.Image.new_from_array(array).copy(interpretation=interpretation)
    if isinstance(kept := picture.source, pyvips.Image):
        for name in kept.get_fields():
            if name.startswith(_KEPT) or _is_plain_text(kept, name):
                image.set_type(kept.get_typeof(name), name, kept.get(name))
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)  # it is upright now
    try:
        options = dict(_SAVE_OPTIONS[suffix])
        if bits == 32:
            options["predictor"] = "float"  # half the size, by the same compression
        with replacing(path) as aside:
            image.write_to_file(str(aside), **options)
    except (pyvips.Error, OSError) as error:
        raise ImageError(f"{path}: could not be written ({_reason(error)})") from error


def _is_plain_text(image: pyvips.Image, name: str) -> bool:
    """Whether metadata is a text of a PNG file that can be written as it was."""
    return name.startswith(_TEXT) and " " not in name and str(image.get(name)).isascii()


def _opened(path: Path) -> pyvips.Image:
    check_readable(path)
    try:
        # what the library remembers of a file may be older than the file
        image = pyvips.Image.new_from_file(str(path), fail_on="error", revalidate=True)
        pages = int(str(image.get("n-pages"))) if image.get_typeof("n-pages") else 1
        if image.get("vips-loader") == "pngload":
            pages = _png_frames(path)
        if pages > 1:
            raise ImageError(
                f"{path}: has {pages} pages or frames; only single images are read"
            )
        plain = _in_plain_colours(image.autorot(), path)
        if plain.bands > _MOST_CHANNELS:
            raise ImageError(
                f"{path}: has {image.bands} channels; grey, RGB and CMYK are read, with"
                " or without alpha"
            )
        return plain
    except (pyvips.Error, UnicodeError) as error:
        raise damaged(path, _reason(error)) from error


def _png_frames(path: Path) -> int:
    """Returns how many frames a PNG file has: libvips reads the first and tells none."""
    with path.open("rb") as file:
        file.seek(8)  # the signature; then chunks: length, kind, content, checksum
        while (start := file.read(8)) and start[4:] != b"IDAT":
            if start[4:] == b"acTL":
                return int.from_bytes(file.read(4), "big")
            file.seek(int.from_bytes(start[:4], "big") + 4, 1)
    return 1


def _in_plain_colours(image: pyvips.Image, path: Path) -> pyvips.Image:
    """Returns an image as grey or RGB, 8, 16 bits or float, with alpha if it has one."""
    if image.interpretation in ("lab", "labs"):  # of floats, of 16 bits
        return image.colourspace("rgb16")
    if image.format in ("float", "double"):
        return image.cast("float")  # white is 1 in files of these
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


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "its name is not valid text; rename it"
    causes = re.findall(r"^system error: (?!Unknown)(.+)$", str(error), re.MULTILINE)
    return causes[-1] if causes else last_line(error)
