"""What is measured, once for each image and way to upscale it, and kept in a file."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from quality_inputs import pair
from torch import Tensor

from spanpp_core import Fractional, Size, SpanPPDescriptor, upscale
from spanpp_core.metrics import psnr_y, ssim_y
from spanpp_core.resize import resize

Upscaler = Callable[[Tensor, float, tuple[int, int]], Tensor]
"""From (1, 3, h, w) in [0, 1], the scale and (height, width) to (1, 3, height, width)."""

GREYS = torch.linspace(0.1, 0.9, 9)[:, None].expand(-1, 3)
"""(9, 3): flat greys whose shift is measured."""

COLOURS = torch.tensor([*itertools.product((0.1, 0.5, 0.9), repeat=3)])
"""(27, 3): flat colours, most of them purer than photos have."""

MARGIN = 24
"""Input pixels at the edge of a flat image that zero padding may reach."""


@dataclass(frozen=True)
class Case:
    """One input, and how it is upscaled."""

    folder: str
    photo: str
    scale: str
    """A fraction, such as 2 or 5/2."""
    degradation: str
    upscaler: str
    """A name, or the hash of weights and the way."""


@dataclass(frozen=True)
class Score:
    """How close a result is to its original."""

    psnr: float
    """In dB, on Y."""
    ssim: float | None
    """On Y; None where the input was degraded, as no table has it."""
    shift: float
    """The mean of made minus original, in steps of 8 bits."""


def lanczos(image: Tensor, _scale: float, size: tuple[int, int]) -> Tensor:
    """Resizes by Pillow's Lanczos filter, in float."""
    planes = [
        Image.fromarray(plane.numpy()).resize(size[::-1], Image.Resampling.LANCZOS)
        for plane in image[0]
    ]
    return torch.stack([torch.from_numpy(np.array(plane)) for plane in planes])[None]


BICUBICS = ("bicubic, a = -0.5", "bicubic, a = -0.75")
"""The kernel of MATLAB, Pillow and the literature, and that of PyTorch and OpenCV."""

PLAIN: Mapping[str, Upscaler] = {
    BICUBICS[0]: lambda image, _, size: resize(image, size),
    BICUBICS[1]: lambda image, _, size: F.interpolate(image, size, mode="bicubic"),
    "Lanczos": lanczos,
}
"""Upscalers that nobody trained."""


def by_model(model: SpanPPDescriptor, way: Fractional) -> Upscaler:
    """Returns the upscaler that a model is, see `Fractional`."""

    def run(image: Tensor, scale: float, _size: tuple[int, int]) -> Tensor:
        return upscale(model, image, size=Size(factor=scale), fractional=way)

    return run


def interpolated(model: SpanPPDescriptor) -> Upscaler:
    """Returns the model with the interpolated kernel that scales such as x2.73 have.

    Asked for a scale that is no simple fraction and leads to the same size. It is below,
    as pixels on the edge between two cells belong to the second one.
    """
    native = by_model(model, "native")
    return lambda image, scale, size: native(image, scale - 1e-6, size)


def identity(model: SpanPPDescriptor) -> str:
    """Returns a short hash of a model's weights and dtype."""
    found = hashlib.sha256(str(model.dtype).encode())
    for name, weights in sorted(model.model.state_dict().items()):
        found.update(name.encode())
        found.update(weights.float().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def measured(made: Tensor, full: Tensor, scale: float, *, ssim: bool) -> Score:
    """Compares a result with its original; a border of ceil(scale) is left out."""
    made, border = made.clamp(0, 1), math.ceil(scale)
    return Score(
        psnr_y(made, full, border),
        ssim_y(made, full, border) if ssim else None,
        float((made.double() - full).mean()) * 255,
    )


class Scores:
    """Every score so far; those of a file are read, and what is new is added to it."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[Case, Score] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                row = json.loads(line)
                self._known[Case(*row[:5])] = Score(*row[5:])

    def of(
        self,
        folder: str,
        photos: Mapping[str, Tensor],
        scale: Fraction,
        degradation: str,
        upscalers: Mapping[str, Upscaler],
    ) -> dict[str, list[Score]]:
        """Returns the scores of each upscaler on each photo, measuring what is missing."""
        found: dict[str, list[Score]] = {name: [] for name in upscalers}
        for photo, pixels in photos.items():
            cases = {
                name: Case(folder, photo, str(scale), degradation, name)
                for name in upscalers
            }
            missing = [name for name, case in cases.items() if case not in self._known]
            if missing:
                low, full = pair(pixels, scale, degradation, photo)
                size = (full.shape[-2], full.shape[-1])
                for name in missing:
                    made = upscalers[name](low, float(scale), size)
                    ssim = degradation == "none"
                    score = measured(made, full, float(scale), ssim=ssim)
                    self._keep(cases[name], score)
            for name, case in cases.items():
                found[name].append(self._known[case])
        return found

    def _keep(self, case: Case, score: Score) -> None:
        self._known[case] = score
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps([*astuple(case), *astuple(score)]) + "\n")


def flat_shift(model: SpanPPDescriptor, scale: float, colours: Tensor) -> float:
    """Returns the largest shift of a channel of flat colours, in steps of 8 bits.

    Args:
        model: What makes flat images of these colours larger.
        scale: By how much.
        colours: (N, 3) in [0, 1].
    """
    side = 2 * MARGIN + 4
    flat = colours[:, :, None, None].expand(-1, -1, side, side)
    made = upscale(model, flat, size=Size(factor=scale), fractional="native")
    edge = math.ceil(MARGIN * scale)
    inside = made[..., edge:-edge, edge:-edge].mean((2, 3))
    return float((inside - colours).abs().max()) * 255
