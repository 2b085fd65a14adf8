"""Any image file in and out, by the library that reads its kind."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from . import exr
from .picture import Header, Picture

try:
    from . import vips as library
except (ImportError, OSError):  # OSError: the package without its library
    from . import pillow as library


def header(path: Path) -> Header:
    """Returns what the header of a file says; no pixels are read.

    Raises:
        ImageError: The file cannot be read.
        MissingPackageError: It is an OpenEXR file, and that package is not installed.
    """
    return _reader(path).header(path)


def read(path: Path) -> Picture:
    """Reads an image: rotated by its EXIF orientation, CMYK as sRGB, palettes expanded.

    Raises:
        ImageError: The file is missing, damaged, or not an image of a readable kind.
        MissingPackageError: As for `header`.
    """
    return _reader(path).read(path)


def write(path: Path, picture: Picture) -> None:
    """Writes an image; the file appears whole or not at all.

    A depth becomes the next one that the format holds: floating point 16 bits in PNG,
    and all become 8 bits in JPEG and WebP. Alpha is laid over black in JPEG.

    Raises:
        ImageError: The format or the size cannot be written, or the disk refused.
        MissingPackageError: As for `header`.
    """
    _reader(path).write(path, picture)


def _reader(path: Path) -> ModuleType:
    return exr if path.suffix.lower() == exr.SUFFIX else library
