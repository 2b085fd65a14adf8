"""What quality is measured on: photos made smaller, and degraded as people have them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from spanpp_core.training.degradation import gaussian_blur, jpeg
from spanpp_core.training.validation import downscaled

Degrade = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
"""From a small image (H, W, 3) in [0, 255] and a seed to the same, degraded."""


def photos_of(folder: Path, count: int | None = None) -> dict[str, Tensor]:
    """Reads the first photos of a folder, by file name, as (1, 3, H, W) in [0, 1]."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())[:count]
    return {path.name: as_tensor(pixels_of(path)) for path in paths}


def pixels_of(path: Path) -> NDArray[np.uint8]:
    """Reads a photo as (H, W, 3) in [0, 255]."""
    return np.array(Image.open(path).convert("RGB"))


def as_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Returns (1, 3, H, W) in [0, 1] of (H, W, 3) in [0, 255]."""
    return torch.tensor(pixels).movedim(-1, 0)[None].float() / 255


def _blurred(sigma: float, low: NDArray[np.uint8], _seed: int) -> NDArray[np.uint8]:
    made = gaussian_blur(as_tensor(low), sigma)[0].movedim(0, -1)
    return (made * 255).round().byte().numpy()


def _noisy(sigma: float, low: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, sigma, low.shape)
    return np.clip(np.rint(low + noise), 0, 255).astype(np.uint8)


def _stored(quality: int, low: NDArray[np.uint8], _seed: int) -> NDArray[np.uint8]:
    return jpeg(low, quality, chroma_halved=True)


DEGRADATIONS: Mapping[str, Degrade] = {
    "none": lambda low, _seed: low,
    "JPEG 50": partial(_stored, 50),
    "JPEG 75": partial(_stored, 75),
    "JPEG 90": partial(_stored, 90),
    "blur 0.8": partial(_blurred, 0.8),
    "noise 5": partial(_noisy, 5.0),
}
"""JPEG of that quality at 4:2:0; a Gaussian blur of that sigma in pixels; Gaussian noise of
that sigma in steps of 8 bits, each colour by itself."""


def pair(
    photo: Tensor, scale: Fraction, degradation: str, name: str
) -> tuple[Tensor, Tensor]:
    """Returns a small, degraded image (1, 3, h, w) and the photo that it was made from.

    The photo is cropped so that the scale divides its sides, made smaller by antialiased
    bicubic interpolation, rounded to 8 bits and degraded then.

    Args:
        photo: (1, 3, H, W) in [0, 1].
        scale: Exact.
        degradation: One of `DEGRADATIONS`.
        name: Of the photo: what noise is drawn from, so that it is always the same.
    """
    low, full = downscaled(photo, scale)
    pixels = (low[0].movedim(0, -1) * 255).round().byte().numpy()
    seed = zlib.crc32(f"{name} {scale}".encode())
    return as_tensor(DEGRADATIONS[degradation](pixels, seed)), full
