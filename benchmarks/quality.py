"""PSNR and SSIM on Y over folders of photos: SpanPP against bicubic and Lanczos.

The photos are degraded by an antialiased bicubic downscale, rounded to 8 bits, after
cropping so that every scale divides their sides; a border of ceil(s) pixels is left out. "interpolated" is
a fraction such as x2.5 with the interpolated kernel of scales such as x2.73.

Run: python benchmarks/quality.py FOLDER ... [--model M] [--scales 1.5 2 ...]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import spanpp_core
from spanpp_core.engine.size import Size
from spanpp_core.engine.upscaling import upscale
from spanpp_core.metrics import psnr_y, ssim_y
from spanpp_core.training.validation import degraded

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

METHODS = ("bicubic", "Lanczos", "native", "downscale", "interpolated")


def photo(path: Path) -> Tensor:
    """Reads a photo as (1, 3, H, W) in [0, 1]."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).movedim(-1, 0)[None]


def lanczos(image: Tensor, height: int, width: int) -> Tensor:
    """Resizes (1, C, h, w) by Pillow's Lanczos filter, in float."""
    planes = [
        Image.fromarray(plane.numpy()).resize((width, height), Image.Resampling.LANCZOS)
        for plane in image[0]
    ]
    return torch.stack([torch.from_numpy(np.array(plane)) for plane in planes])[None]


def results(
    model: spanpp_core.SpanPPDescriptor, low: Tensor, full: Tensor, scale: float
) -> Iterator[tuple[str, Tensor]]:
    """Yields the name and the result of each way to upscale."""
    height, width = full.shape[-2:]
    size = Size(factor=scale)
    yield "bicubic", F.interpolate(low, (height, width), mode="bicubic")
    yield "Lanczos", lanczos(low, height, width)
    yield "native", upscale(model, low, size=size, fractional="native")
    if scale % 1:
        yield "downscale", upscale(model, low, size=size, fractional="downscale")
        # No simple fraction, and the same size. Below, as pixels on the edge between two
        # cells belong to the second one.
        size = Size(factor=scale - 1e-6)
        yield "interpolated", upscale(model, low, size=size, fractional="native")


def main() -> None:
    """Prints a table for each folder: the mean over its photos, a line for each scale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", default=spanpp_core.bundled_model())
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[1.5, 2, 2.5, 3, 3.5, 4, 6]
    )
    given = parser.parse_args()
    model = spanpp_core.load(given.model, dtype=DTYPES[given.precision])
    for folder in given.folders:
        photos = [photo(path) for path in sorted(folder.iterdir())]
        print(f"\n{folder.name}, {len(photos)} photos, dB / SSIM")
        print("| |", " | ".join(METHODS), "|\n" + "|---" * 6 + "|")
        for scale in given.scales:
            exact = Fraction(scale).limit_denominator(100)
            rows: dict[str, list[tuple[float, float]]] = {}
            for original in photos:
                low, full = degraded(original, exact)
                for name, result in results(model, low, full, scale):
                    seen = result.clamp(0, 1), full, math.ceil(scale)
                    rows.setdefault(name, []).append((psnr_y(*seen), ssim_y(*seen)))
            cells = [
                f"{mean(p for p, _ in found):.2f} / {mean(s for _, s in found):.4f}"
                for found in rows.values()
            ]
            cells += [""] * (len(METHODS) - len(cells))
            print("|", " | ".join([f"x{scale:g}", *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
