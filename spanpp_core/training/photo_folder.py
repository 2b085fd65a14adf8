"""The photos of a folder: packed to train on, or whole to validate with."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import images
from ..errors import ImageError, TrainingError
from .photos import Photos

PACK = "photos.bin"


def digest(folder: Path) -> str:
    """Returns what tells the photos of a folder from others: names, sizes, times.

    Raises:
        TrainingError: There is no such folder, or no image in it.
    """
    found = [(p, p.stat()) for p in _files(folder)]
    facts = [(str(p.relative_to(folder)), s.st_size, s.st_mtime_ns) for p, s in found]
    return f"{len(facts)} files, {hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"


def packed(
    folder: Path,
    out: Path,
    smallest: int,
    on_skip: Callable[[ImageError], None] = lambda error: None,
) -> Photos:
    """Returns the photos of a folder, packed in ``out`` when they are not there yet.

    Args:
        folder: With images, in folders too.
        out: A folder; it is made when the photos are known to be good.
        smallest: Their shorter side in pixels, at least.
        on_skip: Told of each file that cannot be read, and is left out.

    Raises:
        TrainingError: None is as large as that.
    """
    files = _files(folder)
    key = json.dumps([digest(folder), smallest])
    path = out / PACK
    found = Photos.open(path, key)
    if found is None:
        if not any(_shorter_side(file) >= smallest for file in files):
            raise TrainingError(
                f"{folder} has no photo whose shorter side is {smallest} px or more;"
                " give larger photos, or ask for a smaller --patch"
            )
        out.mkdir(parents=True, exist_ok=True)
        found = Photos.pack(_pixels(files, on_skip), path, smallest, key)
    return found


def whole(folder: Path) -> list[Tensor]:
    """Returns the photos of a folder in colour, (1, 3, H, W) each in [0, 1]."""
    return [_colours(images.read(path).pixels) for path in _files(folder)]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise TrainingError(f"{folder}: no such folder")
    files = sorted(p for p in folder.rglob("*") if _is_image(p, folder))
    if not files:
        raise TrainingError(f"{folder} has no images; give a folder of photos")
    return files


def _is_image(path: Path, folder: Path) -> bool:
    """Whether a path is that of an image; what macOS leaves beside one is hidden."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    is_kind = path.suffix.lower() in images.IMAGE_SUFFIXES
    return is_kind and not hidden and path.is_file()


def _shorter_side(path: Path) -> int:
    try:
        header = images.header(path)
    except ImageError:
        return 0
    return min(header.height, header.width)


def _colours(pixels: Tensor) -> Tensor:
    """Grey becomes three equal channels, and alpha goes: (1, 3, H, W)."""
    return (
        pixels[:, :3] if pixels.shape[1] >= 3 else pixels[:, :1].expand(-1, 3, -1, -1)
    )


def _pixels(
    files: Sequence[Path], on_skip: Callable[[ImageError], None]
) -> Iterator[NDArray[np.uint8]]:
    """Yields (H, W, 3) in [0, 255]; a few images are decoded at once."""

    def read(path: Path) -> NDArray[np.uint8] | ImageError:
        try:
            pixels = _colours(images.read(path).pixels)[0]
        except ImageError as error:
            return error
        return pixels.mul(255).round_().to(torch.uint8).movedim(0, -1).numpy()

    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[NDArray[np.uint8] | ImageError]] = deque()
        for path in files:
            ahead.append(pool.submit(read, path))
            if len(ahead) > threads:
                yield from _good(ahead.popleft().result(), on_skip)
        for each in ahead:
            yield from _good(each.result(), on_skip)


def _good(
    found: NDArray[np.uint8] | ImageError, on_skip: Callable[[ImageError], None]
) -> Iterator[NDArray[np.uint8]]:
    if isinstance(found, ImageError):
        on_skip(found)
    else:
        yield found
