"""What low resolution suffers on its way to a user: blur, resize kernels, noise, JPEG.

Each comes with its own probability, drawn from the generator of the patch, so that a
resumed run draws the same. JPEG is Pillow's, which is libjpeg-turbo.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .downscale import Kernel, downscale

DegradationName = Literal["none", "photo"]

_BLOCK = 16
"""Side in pixels of what JPEG codes at once at 4:2:0."""

_FULL, _HALVED = 0, 2
"""Pillow's numbers of 4:4:4 and 4:2:0."""


@dataclass(frozen=True)
class Degradation:
    """Probabilities, and the ranges that strengths are drawn from evenly."""

    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.3, 1.2)
    """Of the Gaussian, in pixels of the small image."""
    kernels: Mapping[Kernel, float] | None = None
    """How often each makes the image smaller; None: always bicubic."""
    noise: float = 0.0
    noise_sigma: tuple[float, float] = (0.5, 6.0)
    """Of Gaussian noise, in steps of 8 bits; grey in half of the cases."""
    jpeg: float = 0.0
    jpeg_again: float = 0.0
    """Of a second JPEG after the first."""
    quality: tuple[int, int] = (30, 95)
    """Of both, as libjpeg counts."""
    chroma_halved: float = 0.6
    """How often JPEG stores colour at half the resolution (4:2:0), not at all of it."""

    @property
    def is_none(self) -> bool:
        """Whether nothing is ever done to an image."""
        return not (self.blur or self.kernels or self.noise or self.jpeg)

    def smaller(
        self,
        full: Tensor,
        scale: Fraction,
        cells: range,
        edge: int,
        random: np.random.Generator,
    ) -> Tensor:
        """Makes a crop smaller as `downscale` does, perhaps after blurring it."""
        if random.random() < self.blur:
            sigma = random.uniform(*self.blur_sigma) * float(scale)
            full = gaussian_blur(full, sigma)
        if self.kernels is None:
            return downscale(full, scale, cells, edge)
        kernels: list[Kernel] = [*self.kernels]
        drawn = int(random.choice(len(kernels), p=[*self.kernels.values()]))
        return downscale(full, scale, cells, edge, kernels[drawn])

    def stored(
        self, low: NDArray[np.uint8], random: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Returns a small image (H, W, 3) in [0, 255] as a camera or a site stores it."""
        if random.random() < self.noise:
            shape = (*low.shape[:2], 1 if random.random() < 0.5 else 3)
            noise = random.normal(0, random.uniform(*self.noise_sigma), shape)
            low = np.clip(np.rint(low + noise), 0, 255).astype(np.uint8)
        for probability in (self.jpeg, self.jpeg_again):
            if random.random() >= probability:
                break
            quality = int(random.integers(self.quality[0], self.quality[1] + 1))
            halved = random.random() < self.chroma_halved
            y, x = (int(v) for v in random.integers(_BLOCK, size=2))
            # the blocks of a whole image lie anywhere in a crop of it
            shifted = np.pad(low, ((y, 0), (x, 0), (0, 0)), mode="edge")
            low = jpeg(shifted, quality, halved)[y:, x:]
        return low


PHOTO = Degradation(
    blur=0.04,
    kernels={"bicubic": 0.9, "bilinear": 0.05, "area": 0.05},
    noise=0.15,
    jpeg=0.85,
    jpeg_again=0.2,
)
"""Photos as people have them: from a camera or a site, perhaps saved twice. With more
blur in training, networks sharpen what is out of focus by nature."""

DEGRADATIONS: Mapping[DegradationName, Degradation] = {
    "none": Degradation(),
    "photo": PHOTO,
}


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blurs (N, C, H, W) by a Gaussian of ``sigma`` pixels; edges are mirrored."""
    radius = min(math.ceil(3 * sigma), *(side - 1 for side in image.shape[-2:]))
    if radius == 0:
        return image
    line = torch.arange(-radius, radius + 1, dtype=image.dtype)
    line = torch.exp(-0.5 * (line / sigma).square())
    line = (line / line.sum()).repeat(image.shape[1], 1, 1, 1)  # (C, 1, 1, 2r + 1)
    padded = F.pad(image, (radius, radius, radius, radius), mode="reflect")
    rows = F.conv2d(padded, line, groups=image.shape[1])
    return F.conv2d(rows, line.transpose(2, 3), groups=image.shape[1])


def jpeg(
    image: NDArray[np.uint8], quality: int, chroma_halved: bool
) -> NDArray[np.uint8]:
    """Returns (H, W, 3) in [0, 255] after a trip through JPEG."""
    stream = io.BytesIO()
    subsampling = _HALVED if chroma_halved else _FULL
    Image.fromarray(image).save(
        stream, "JPEG", quality=quality, subsampling=subsampling
    )
    return np.asarray(Image.open(stream))
