"""Image files by Pillow: 8 bits, alpha, grey; profiles and EXIF kept."""

from __future__ import annotations

import struct
from collections.abc import Generator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from ..atomic_file import replacing
from ..errors import ImageError, last_line
from .picture import Header, Picture, check_readable, check_writable, damaged

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
"""The readers that are used: those of the endings."""

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"quality": 95},
    ".tif": {"compression": "tiff_adobe_deflate"},
    ".tiff": {"compression": "tiff_adobe_deflate"},
    ".png": {},
}

_KEPT = ("icc_profile", "exif")
"""Metadata that still holds for the larger image."""

_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
"""Tags of the size as it is stored."""

_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
    ImageCms.PyCMSError,
)
"""What Pillow raises on files that are damaged or too large to be honest."""


def header(path: Path) -> Header:
    """Returns what the header of a file says; no pixels are read.

    Raises:
        ImageError: The file cannot be read.
    """
    with _opened(path) as image:
        width, height = _upright_size(image)
        return Header(height, width, len(_plain_mode(image)), 8)


def read(path: Path) -> Picture:
    """Reads an image: rotated by its EXIF orientation, CMYK as sRGB, palettes expanded.

    Raises:
        ImageError: The file is missing, damaged, not an image, or has more than 8 bits.
    """
    with _opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        plain = upright
        if upright.mode == "CMYK" and (profile := upright.info.get("icc_profile")):
            plain = _in_srgb(upright, profile)
        kept = {name: upright.info[name] for name in _KEPT if name in upright.info}
        if upright.mode == "CMYK":
            kept.pop("icc_profile", None)
        if texts := _texts(image):
            kept["pnginfo"] = texts
        return Picture.of(np.asarray(plain.convert(_plain_mode(plain))), kept)


def write(path: Path, picture: Picture) -> None:
    """Writes an image with 8 bits; the file appears whole or not at all.

    Alpha is laid over black in JPEG.

    Raises:
        ImageError: The format or the size cannot be written, or the disk refused.
    """
    check_writable(path, *picture.pixels.shape[2:])
    suffix = path.suffix.lower()
    array = picture.array(8)
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    if image.has_transparency_data and suffix in (".jpg", ".jpeg"):
        opaque = Image.new(image.mode.removesuffix("A"), image.size)
        opaque.paste(image, mask=image.getchannel("A"))
        image = opaque
    is_ours = isinstance(picture.source, dict)
    kept = cast("dict[str, Any]", picture.source) if is_ours else {}
    try:
        with replacing(path) as aside:
            image.save(aside, **_SAVE_OPTIONS[suffix], **kept)
    except (OSError, ValueError) as error:
        reason = last_line(error)
        raise ImageError(f"{path}: could not be written ({reason})") from error


@contextmanager
def _opened(path: Path) -> Generator[Image.Image, None, None]:
    """Gives an image of a kind that is read, and names what Pillow refuses within."""
    check_readable(path)
    try:
        with closing(Image.open(path, formats=_FORMATS)) as image:
            # phones put a preview, or a map of depths, behind their JPEG
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            if frames > 1:
                raise ImageError(
                    f"{path}: has {frames} pages or frames; only single images are read"
                )
            raw = str(getattr(image, "tile", ""))
            if image.mode[0] in "IF" or ";16" in raw:
                raise ImageError(
                    f"{path}: has more than 8 bits per channel; these are read with the"
                    " package pyvips, which is not installed here"
                )
            yield image
    except ImageError:
        raise
    except _UNREADABLE as error:
        raise damaged(path, last_line(error)) from error


def _texts(image: Image.Image) -> PngInfo | None:
    """Returns the texts of a PNG file, such as the prompts of what made the image.

    Not those that are EXIF data or XMP: they may hold the orientation that it had.
    """
    found: dict[str, str] = getattr(image, "text", {})
    kept = PngInfo()
    for name, text in found.items():
        if not name.startswith(("Raw profile", "XML:")):
            kept.add_text(name, text)
    return kept if kept.chunks else None


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Returns (width, height) of an image once it is turned by its orientation."""
    width, height = image.size
    tags: Any = getattr(image, "tag_v2", None)
    if tags and (width, height) != (tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT]):
        return width, height  # newer versions of Pillow have turned TIFF files already
    turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Returns a CMYK image as RGB, by its own profile."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))  # pyright: ignore
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(profile)), srgb, "CMYK", "RGB"
    ).apply(image)


def _plain_mode(image: Image.Image) -> str:
    """The mode to convert to: grey or RGB, with alpha if it has one."""
    plain = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    return plain + ("A" if image.has_transparency_data else "")
