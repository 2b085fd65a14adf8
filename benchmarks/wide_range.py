"""Values outside [0, 1]: what comes back of them, on OpenEXR images.

For each image, upscaled: the error of its values above 1 once the result is reduced
again (antialiased bicubic, as sRGB encodes light; relative to linear light), the same of
the network on its own values from 0.25 to 1, and how far values below 1 are from those
of the clipped image, in steps of 8 bits. Then, over images halved and upscaled again,
the PSNR of log2(1 + value) above 1 and up to 4 pixels beside: of `upscale`, of the
clipped image with the part above 1 interpolated and added, and of bicubic interpolation.

Run: python benchmarks/wide_range.py IMAGE.exr ... [--scale 2]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import spanpp_core
from spanpp_core import Size, SpanPPDescriptor, images, prepare, upscale
from spanpp_core.engine.dynamic_range import TOLERANCE, finite
from spanpp_core.images.exr import linear
from spanpp_core.resize import bicubic

REACH = 4
"""Pixels around a value outside [0, 1] that may differ from the clipped result."""


def clipped_result(model: SpanPPDescriptor, image: Tensor, size: Size) -> Tensor:
    """Returns what the network makes of an image clipped to [0, 1]."""
    run = prepare(model, (image.shape[2], image.shape[3]), size)
    return run.run_in_range(image.clamp(0, 1))


def around(mask: Tensor) -> Tensor:
    """Returns the pixels within `REACH` of those where any channel is True."""
    found = mask.any(1, keepdim=True).float()
    return (F.max_pool2d(found, 2 * REACH + 1, 1, REACH) > 0).expand_as(mask)


def error(made: Tensor, image: Tensor, where: Tensor) -> Tensor:
    """Returns the errors, in percent, of a result that is reduced again."""
    small = bicubic(made, (image.shape[2], image.shape[3]))
    light = linear(image)
    return 100 * ((linear(small) - light).abs() / light)[where]


def print_errors(path: Path, model: SpanPPDescriptor, size: Size) -> None:
    """Prints the row of an image."""
    image = colours(path)
    made, clipped = upscale(model, image, size=size), clipped_result(model, image, size)
    above = image > 1
    outside = around((image > 1 + TOLERANCE) | (image < -TOLERANCE))
    own = error(clipped, image, (linear(image) > 0.25) & ~around(above))
    of_above = error(made, image, above)
    last = of_above.sort().values[int(0.99 * (of_above.numel() - 1))]
    near = F.interpolate(outside.float(), made.shape[2:]) > 0
    change = 255 * (made - clipped).abs()
    print(
        f"| {path.stem} | {float(linear(image).max()):.4g}"
        f" | {100 * float(above.float().mean()):.1f} %"
        f" | {float(of_above.mean()):.2f} / {float(of_above.median()):.2f}"
        f" / {float(last):.2f} % | {float(own.mean()):.2f} %"
        f" | {float(change[near & (made <= 1)].median()):.2f}"
        f" | {float(change[~near].max()):.2f} |"
    )


def print_ways(paths: list[Path], model: SpanPPDescriptor, scale: int) -> None:
    """Prints how near three ways come to images that were reduced."""
    sums: dict[str, list[tuple[float, float]]] = {}
    for path in paths:
        image = colours(path)
        height, width = (side // scale * scale for side in image.shape[2:])
        image = image[:, :, :height, :width]
        small = bicubic(image, (height // scale, width // scale))
        small = small.clamp_min(float(image.min()))
        size, full = Size(factor=scale), (height, width)
        excess = bicubic((small - 1).clamp_min(0), full).clamp_min(0)
        ways = {
            "upscale": upscale(model, small, size=size),
            "part above 1 interpolated": clipped_result(model, small, size) + excess,
            "bicubic": bicubic(small, full),
        }
        above = image > 1
        beside = around(above) & ~above
        for name, made in ways.items():
            row = (psnr(made, image, above), psnr(made, image, beside))
            sums.setdefault(name, []).append(row)
    print(f"\n| reduced by {scale} | PSNR above 1 | beside |\n|---|---|---|")
    for name, rows in sums.items():
        above_one, beside_it = (sum(column) / len(rows) for column in zip(*rows))
        print(f"| {name} | {above_one:.2f} | {beside_it:.2f} |")


def psnr(made: Tensor, image: Tensor, where: Tensor) -> float:
    """Returns the PSNR of the logarithms in dB."""
    wrong = (made.clamp_min(0) + 1).log2() - (image.clamp_min(0) + 1).log2()
    return -10 * float(wrong[where].square().mean().log10())


def colours(path: Path) -> Tensor:
    """Returns the colours of an image, (1, C, H, W)."""
    return finite(images.read(path).colours_and_alpha()[0][None])


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--scale", type=int, default=2)
    given = parser.parse_args()
    model = spanpp_core.load(spanpp_core.bundled_model())
    print(
        "| image | largest | above 1 | error above 1: mean / median / 99th percentile"
        " | own error | change beside | change elsewhere |\n|---|---|---|---|---|---|---|"
    )
    with torch.inference_mode():
        for path in given.images:
            print_errors(path, model, Size(factor=given.scale))
        print_ways(given.images, model, given.scale)


if __name__ == "__main__":
    main()
