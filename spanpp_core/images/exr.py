"""OpenEXR files, by the OpenEXR package: linear light, half and single precision, alpha.

Everything else of this package has colours as sRGB encodes them, so they are encoded on
the way in and decoded on the way out; beyond [0, 1] the curve goes on. Channels other
than R, G, B, Y and A, and parts after the first, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..atomic_file import replacing
from ..errors import ImageError, last_line
from ..optional import require
from .picture import Header, Picture, check_readable, check_writable, damaged

SUFFIX = ".exr"

_KINDS = (("R", "G", "B", "A"), ("R", "G", "B"), ("Y", "A"), ("Y",))
"""Channels that are read, in the order of a picture's."""

_OF_THE_PIXELS = {
    "channels",
    "chunkCount",
    "dataWindow",
    "displayWindow",
    "lineOrder",
    "name",
    "tiles",
    "type",
    "version",
}
"""What a header says of the pixels as they were; the rest is kept."""


@dataclass(frozen=True)
class _Attributes:
    """What the header of a file says, but for `_OF_THE_PIXELS`."""

    values: dict[str, Any]


def header(path: Path) -> Header:
    """Returns what the header of a file says; no pixels are read.

    Raises:
        ImageError: The file cannot be read.
        MissingPackageError: OpenEXR is not installed.
    """
    part = _part(path, header_only=True)
    kind = _kind(path, part.names)
    first, last = part.header["dataWindow"]
    width, height = (int(side) for side in last - first + 1)
    return Header(height, width, len(kind), 32)  # or 16: only the pixels tell


def read(path: Path) -> Picture:
    """Reads an image; its pixels are encoded as sRGB, see `encoded`.

    Raises:
        ImageError: The file is missing, damaged, or not an image of a readable kind.
        MissingPackageError: OpenEXR is not installed.
    """
    part = _part(path, header_only=False)
    kind = _kind(path, part.names)
    planes = [np.asarray(part.channels[name].pixels) for name in kind]
    kinds = {(plane.shape, plane.dtype.kind) for plane in planes}
    if kinds != {(planes[0].shape, "f")}:
        raise ImageError(
            f"{path}: has subsampled or whole-number channels; half and float are read"
        )
    kept = {k: v for k, v in part.header.items() if k not in _OF_THE_PIXELS}
    return _encoded(Picture.of(np.stack(planes, axis=-1), _Attributes(kept)))


def write(path: Path, picture: Picture) -> None:
    """Writes an image as linear light; the file appears whole or not at all.

    Half precision where the picture has 16 bits or fewer, else single precision.

    Raises:
        ImageError: The size cannot be written, or the disk refused.
        MissingPackageError: OpenEXR is not installed.
    """
    check_writable(path, *picture.pixels.shape[2:])
    openexr = _openexr()
    colours, alpha = picture.colours_and_alpha()
    planes = [*linear(colours), *alpha]
    dtype = np.float32 if picture.bits > 16 else np.float16
    kind = next(each for each in _KINDS if len(each) == len(planes))
    pixels = {name: _of(plane, dtype) for name, plane in zip(kind, planes)}
    says: dict[str, Any] = {"compression": openexr.ZIP_COMPRESSION}
    if isinstance(picture.source, _Attributes):
        says |= picture.source.values
    says["type"] = openexr.scanlineimage
    try:
        with replacing(path) as aside:
            openexr.File(says, pixels).write(str(aside))
    except (RuntimeError, OSError, ValueError, TypeError) as error:
        reason = last_line(error)
        raise ImageError(f"{path}: could not be written ({reason})") from error


def encoded(light: Tensor) -> Tensor:
    """Returns linear light as sRGB encodes it (IEC 61966-2-1), also beyond [0, 1].

    Example:
        >>> encoded(torch.tensor([-0.5, 0.0, 0.5, 1.0, 8.0]))
        tensor([-0.7354,  0.0000,  0.7354,  1.0000,  2.4542])
    """
    size = light.abs()
    curve = 1.055 * size.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(size > 0.0031308, curve, size * 12.92) * light.sign()


def linear(colour: Tensor) -> Tensor:
    """Returns the linear light of colours encoded as sRGB: the inverse of `encoded`."""
    size = colour.abs()
    curve = ((size.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(size > 0.04045, curve, size / 12.92) * colour.sign()


def _encoded(picture: Picture) -> Picture:
    colours, alpha = picture.colours_and_alpha()
    return replace(picture, pixels=torch.cat([encoded(colours), alpha])[None])


def _openexr() -> Any:
    return require("Reading and writing OpenEXR images", "exr", "OpenEXR")


class _Part(NamedTuple):
    """The first part of a file."""

    header: dict[str, Any]
    names: set[str]
    """Of its channels."""
    channels: dict[str, Any]
    """Without pixels where only the header was read."""


def _part(path: Path, *, header_only: bool) -> _Part:
    """Opens a file."""
    check_readable(path)
    openexr = _openexr()
    if not path.exists():
        raise damaged(path, "")
    try:
        opened = openexr.File(
            str(path), separate_channels=True, header_only=header_only
        )
        part = opened.parts[0]
        # names that are no text raise an error when they are asked for
        names = {channel.name for channel in part.header["channels"]}
        return _Part(part.header, names, part.channels)
    except (RuntimeError, OSError, ValueError, IndexError) as error:
        raise damaged(path, last_line(error)) from error


def _kind(path: Path, names: set[str]) -> tuple[str, ...]:
    """Returns the channels to read, of those that a file has."""
    kind = next((each for each in _KINDS if names.issuperset(each)), None)
    if kind is None:
        raise ImageError(
            f"{path}: has the channels {', '.join(sorted(names))}; expected R, G, B or Y"
        )
    return kind


def _of(plane: Tensor, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Returns a plane (H, W) as numbers that the dtype holds."""
    top = float(np.finfo(dtype).max)
    return np.ascontiguousarray(plane.clamp(-top, top).numpy().astype(dtype))
