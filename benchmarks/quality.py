"""PSNR on Y over a folder of photos: methods and precisions against bicubic.

The photos are degraded by an antialiased bicubic downscale, after cropping so that
every scale divides their sides; a border of ceil(s) pixels is left out.

Run: python benchmarks/quality.py FOLDER [--model M] [--scales 1.5 2 ...]
"""

from __future__ import annotations

import argparse
import math
from fractions import Fraction
from pathlib import Path
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import spanpp_core
from spanpp_core.engine.target import Target, resize, upscale_to
from spanpp_core.metrics import psnr_y

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def photo(path: Path) -> torch.Tensor:
    """Reads a photo as (1, 3, H, W) in [0, 1]."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).movedim(-1, 0)[None]


def main() -> None:
    """Prints one line a scale: the mean over the photos of each way to upscale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=spanpp_core.bundled_model())
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[1.5, 2, 2.5, 3, 3.5, 4]
    )
    given = parser.parse_args()
    models = {n: spanpp_core.load(given.model, dtype=d) for n, d in DTYPES.items()}
    photos = [photo(path) for path in sorted(given.folder.iterdir())]
    print(
        f"{len(photos)} photos; dB     bicubic  fp32/native  fp32/downscale  bf16/native"
    )
    for scale in given.scales:
        cells = Fraction(scale).limit_denominator(100).numerator
        rows: dict[str, list[float]] = {}
        for original in photos:
            height, width = (side // cells * cells for side in original.shape[-2:])
            full = original[..., :height, :width]
            small = resize(full, (round(height / scale), round(width / scale)))
            target = Target.by_factor(small.shape[-2], small.shape[-1], scale)
            made = {"bicubic": F.interpolate(small, (height, width), mode="bicubic")}
            for name, method in (
                ("fp32", "native"),
                ("fp32", "downscale"),
                ("bf16", "native"),
            ):
                made[f"{name}/{method}"] = upscale_to(
                    models[name], small, target, method=method
                )
            for name, result in made.items():
                score = psnr_y(result.clamp(0, 1), full, math.ceil(scale))
                rows.setdefault(name, []).append(score)
        print(
            f"x{scale:<5g}",
            *(f"{name} {mean(r):.2f}" for name, r in rows.items()),
            sep="  ",
        )


if __name__ == "__main__":
    main()
