"""PSNR and SSIM on Y over folders of photos: SpanPP against bicubic and Lanczos.

Each photo is cropped so that the scale divides its sides, made smaller by antialiased
bicubic interpolation and rounded to 8 bits; a border of ceil(scale) pixels is left out.
For the degraded tables the small images are stored as JPEG, blurred or made noisy then;
gains are over the better of two bicubic kernels, photo by photo. Prints Markdown.

Run: python benchmarks/quality.py SET5 SET14 ... [--models FILE ...] [--repair 0 0.5 1]
[--tables clean degraded brightness] [--scales 1.5 2 ...] [--keep scores.jsonl]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import mean

import torch
from quality_inputs import DEGRADATIONS, photos_of
from quality_scores import (
    BICUBICS,
    COLOURS,
    GREYS,
    PLAIN,
    Scores,
    Upscaler,
    by_model,
    flat_shift,
    identity,
    interpolated,
)
from quality_tables import (
    Row,
    better,
    course,
    gain,
    gains,
    markdown,
    published,
    quality,
)
from torch import Tensor

import spanpp_core
from spanpp_core import BACKENDS, SpanPPDescriptor

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

SCALES = ("1.5", "2", "2.5", "3", "3.5", "4", "8")

DEGRADED_SCALES = ("2", "4")

WAYS = ("native", "downscale", "interpolated")

TABLES = ("clean", "degraded", "brightness")

Photos = Mapping[str, Mapping[str, Tensor]]
"""(1, 3, H, W) each, by the names of the folder and of the file."""

Models = Mapping[str, SpanPPDescriptor]
"""By the name that a table gives each."""


def models_of(given: argparse.Namespace) -> dict[str, SpanPPDescriptor]:
    """Loads the models asked for, or the points between a clean and a repair model."""
    files: list[Path] = given.models
    load = partial(spanpp_core.load, dtype=DTYPES[given.precision])
    if given.repair:
        repair_weights = files[1] if len(files) > 1 else None
        models = {
            f"repair {at:g}": load(files[0], repair=at, repair_weights=repair_weights)
            for at in given.repair
        }
    else:
        models = {path.stem: load(path) for path in files}
    return {name: each.with_backend(given.backend) for name, each in models.items()}


def upscalers_of(
    models: Models, scale: Fraction, ways: Sequence[str]
) -> dict[str, Upscaler]:
    """Returns the ways to reach a scale, by the hash of the weights and the way."""
    found: dict[str, Upscaler] = {}
    for model in models.values():
        key = identity(model)
        found[f"{key} native"] = by_model(model, "native")
        if scale.denominator > 1 and "downscale" in ways:
            found[f"{key} downscale"] = by_model(model, "downscale")
        if scale.denominator > 1 and "interpolated" in ways:
            found[f"{key} interpolated"] = interpolated(model)
    return found


def clean(
    name: str,
    photos: Mapping[str, Tensor],
    models: Models,
    scales: Sequence[str],
    ways: Sequence[str],
    scores: Scores,
) -> str:
    """Returns the table of one folder: a row for each upscaler, a column per scale."""
    by_scale = [
        scores.of(
            name, photos, scale, "none", PLAIN | upscalers_of(models, scale, ways)
        )
        for scale in map(Fraction, scales)
    ]
    labels = {plain: plain for plain in PLAIN}
    for label, model in models.items():
        labels |= {f"{identity(model)} {way}": f"{label}, {way}" for way in ways}
    rows: list[Row] = [
        (label, [quality(found.get(key, [])) for found in by_scale])
        for key, label in labels.items()
        if any(key in found for found in by_scale)
    ]
    columns = [f"x{scale}" for scale in scales]
    return markdown(
        f"{name} ({len(photos)} photos): PSNR in dB / SSIM",
        columns,
        [*rows, *published(name, scales)],
    )


def degraded(
    name: str,
    photos: Mapping[str, Tensor],
    models: Models,
    scale: str,
    degradations: Sequence[str],
    points: Sequence[float],
    scores: Scores,
) -> str:
    """Returns the gains on one folder at a scale: a row for each degradation."""
    rows: list[Row] = []
    upscalers = {kernel: PLAIN[kernel] for kernel in BICUBICS}
    upscalers |= upscalers_of(models, Fraction(scale), ())
    for degradation in degradations:
        found = scores.of(name, photos, Fraction(scale), degradation, upscalers)
        plain = better(*(found[kernel] for kernel in BICUBICS))
        over = [
            gains(found[f"{identity(model)} native"], plain)
            for model in models.values()
        ]
        cells = [f"{mean(score.psnr for score in plain):.2f}", *map(gain, over)]
        if points:
            cells.append(course([mean(values) for values in over], points))
        rows.append((degradation, cells))
    return markdown(
        f"{name} at x{scale}, degraded: dB above bicubic, and of the worst photo",
        ["bicubic", *models, *(["along the line"] if points else [])],
        rows,
    )


def brightness(
    photos: Photos, models: Models, scales: Sequence[str], scores: Scores
) -> str:
    """Returns the mean of made minus original, and the shift of flat colours."""
    rows: list[Row] = []
    for label, model in models.items():
        key = f"{identity(model)} native"
        upscaler = {key: by_model(model, "native")}
        shifts = [
            mean(
                score.shift
                for name, some in photos.items()
                for score in scores.of(name, some, Fraction(scale), "none", upscaler)[
                    key
                ]
            )
            for scale in scales
        ]
        rows.append((f"{label}, photos", [f"{shift:+.3f}" for shift in shifts]))
        for name, flat in {"greys": GREYS, "colours": COLOURS}.items():
            most = [flat_shift(model, float(scale), flat) for scale in scales]
            cells = [f"{shift:.3f}" for shift in most]
            rows.append((f"{label}, flat {name}, at most", cells))
    return markdown(
        "Brightness: mean of made minus original, in 1/255",
        [f"x{scale}" for scale in scales],
        rows,
    )


def main() -> None:
    """Prints each table as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument(
        "--models", type=Path, nargs="+", default=[spanpp_core.bundled_model()]
    )
    parser.add_argument(
        "--repair",
        type=float,
        nargs="+",
        default=[],
        help="from 0, the first of the models, to 1, its repair model: the second of them"
        " or the file beside it",
    )
    parser.add_argument("--tables", choices=TABLES, nargs="+", default=TABLES)
    parser.add_argument("--scales", nargs="+", help="such as 2, 2.5 or 8/3")
    parser.add_argument(
        "--degradations",
        choices=DEGRADATIONS,
        nargs="+",
        metavar="NAME",
        help=f"of {', '.join(DEGRADATIONS)}; by default all, and none with --repair",
    )
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=WAYS[:2])
    parser.add_argument("--images", type=int, help="only so many photos of a folder")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--backend", choices=BACKENDS, default="torch")
    parser.add_argument(
        "--keep", type=Path, help="JSON lines; what is there is not measured again"
    )
    given = parser.parse_args()
    models, scores = models_of(given), Scores(given.keep)
    photos = {folder.name: photos_of(folder, given.images) for folder in given.folders}
    scales = given.scales or SCALES
    degradations = given.degradations or [*DEGRADATIONS][0 if given.repair else 1 :]
    if "clean" in given.tables:
        for name, some in photos.items():
            print(clean(name, some, models, scales, given.ways, scores), flush=True)
    if "degraded" in given.tables:
        for name, some in photos.items():
            for scale in given.scales or DEGRADED_SCALES:
                table = degraded(
                    name, some, models, scale, degradations, given.repair, scores
                )
                print(table, flush=True)
    if "brightness" in given.tables:
        print(brightness(photos, models, scales, scores), flush=True)


if __name__ == "__main__":
    main()
