"""Short trainings that differ in one setting each, from the same weights at equal cost.

Each sees as many low-resolution pixels, warms up over a tenth of its steps, falls to a
rate of 0 and averages its weights over as large a share of them. What differs by less than
two seeds of the same recipe do says nothing. Scores are the mean PSNR on Y over all test
photos and three scales. Prints Markdown. A comparison that was stopped measures what is
missing.

Run: python benchmarks/recipes.py PHOTOS OUT SET5 SET14 ... [--recipe recipes/clean.toml]
[--pixels 15e6] [--only NAME ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from quality_inputs import photos_of
from quality_scores import GREYS, Scores, by_model, flat_shift, identity
from quality_tables import markdown
from torch import Tensor

import spanpp_core
from spanpp_core import BACKENDS, SpanPPDescriptor
from spanpp_core.training import photo_folder
from spanpp_core.training.initial_network import initial_network
from spanpp_core.training.photos import Photos
from spanpp_core.training.recipe import Recipe
from spanpp_core.training.recipe_file import read_recipe
from spanpp_core.training.run import launched, train_recipe
from spanpp_core.training.state import WEIGHTS

BASE: Mapping[str, Any] = {"batch": 16, "patch": 48, "learning_rate": 1e-3, "seed": 1}
"""What all have in common, unless they differ in it; the rest is the recipe's. At its own
rate, trained weights lose more in a short run than they win back."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "the recipe": {},
    "seed 2": {"seed": 2},
    "batch 32": {"batch": 32},
    "batch 64": {"batch": 64},
    "9 patches of 64x64": {"batch": 9, "patch": 64},
    "L1 to the end": {"last_loss": None},
    "MSE from the start": {"loss": "mse", "last_loss": None},
    "Charbonnier to the end": {"loss": "charbonnier", "last_loss": None},
    "L1 + 0.05 FFT to the end": {"loss": "l1+fft", "last_loss": None},
    "rate 5e-4": {"learning_rate": 5e-4},
    "rate 2e-3": {"learning_rate": 2e-3},
    "rate 3e-3": {"learning_rate": 3e-3},
    "no weight decay": {"weight_decay": 0.0},
    "half of the steps at fractions": {"fractions": 0.25, "between": 0.25},
    "one place drawn per patch": {"choices": 1},
    "a tenth of the pairs flat": {"flat": 0.1},
    "no averaging": {"ema": 0.0},
}
"""The settings that each differs in."""

WHOLE = tuple(map(Fraction, ("2", "3", "4")))
BETWEEN = tuple(map(Fraction, ("1.5", "2.5", "3.5")))

AVERAGED = 1 / 50
"""The share of its steps that a run averages its weights over."""


def variant(recipe: Recipe, differs: Mapping[str, Any], pixels: float) -> Recipe:
    """Returns a recipe that differs in some settings and sees so many pixels."""
    made = replace(recipe, **{**BASE, **differs})
    steps = round(pixels / (made.batch * made.patch**2))
    made = replace(made, steps=steps, warm_up=steps // 10)
    if "ema" in differs:
        return made
    return replace(made, ema=max(0.0, 1 - 1 / (AVERAGED * steps)))


def trained(recipe: Recipe, photos: Photos, out: Path) -> Path:
    """Trains in a folder, or finds what was trained there; returns the weights."""
    out.mkdir(parents=True, exist_ok=True)
    train_recipe(
        recipe,
        initial_network(recipe),
        photos,
        out,
        fabric=launched(recipe.precision, torch.device("cpu")),
        settings={"continuous": bool(recipe.continuous)},
        save_every=recipe.steps,
    )
    return out / WEIGHTS


def mean_psnr(
    model: SpanPPDescriptor,
    photos: Mapping[str, Mapping[str, Tensor]],
    scales: Sequence[Fraction],
    scores: Scores,
) -> float:
    """Returns the mean over scales and photos, in dB."""
    key = f"{identity(model)} native"
    way = {key: by_model(model, "native")}
    return mean(
        score.psnr
        for scale in scales
        for name, some in photos.items()
        for score in scores.of(name, some, scale, "none", way)[key]
    )


def main() -> None:
    """Prints a row for each variant as soon as it is measured, and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder to train on")
    parser.add_argument("out", type=Path, help="folder for the runs")
    parser.add_argument("tests", type=Path, nargs="+", help="folders to measure on")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/clean.toml"))
    parser.add_argument("--pixels", type=float, default=15e6, help="of each training")
    parser.add_argument("--only", choices=VARIANTS, nargs="+", metavar="NAME")
    parser.add_argument("--backend", choices=BACKENDS, default="torch")
    given = parser.parse_args()
    recipe = read_recipe(given.recipe, {})
    variants = {
        name: variant(recipe, differs, given.pixels)
        for name, differs in VARIANTS.items()
        if not given.only or name in given.only
    }
    smallest = max(one.smallest_side for one in variants.values())
    photos = photo_folder.packed(given.photos, given.out, smallest)
    tests = {path.name: photos_of(path) for path in given.tests}
    scores = Scores(given.out / "scores.jsonl")

    def row(name: str, model: SpanPPDescriptor, steps: int) -> tuple[str, list[str]]:
        model = model.with_backend(given.backend)
        psnr = [mean_psnr(model, tests, scales, scores) for scales in (WHOLE, BETWEEN)]
        shift = max(flat_shift(model, float(scale), GREYS) for scale in WHOLE)
        cells = [*(f"{value:.3f}" for value in psnr), f"{shift:.2f}", f"{steps}"]
        print(name, *cells, flush=True)
        return name, cells

    rows = [row("before", spanpp_core.load(recipe.weights or ""), 0)]
    files: dict[str, Path] = {}
    for name, one in variants.items():
        files[name] = trained(one, photos, given.out / name.replace(" ", "_"))
        rows.append(row(name, spanpp_core.load(files[name]), one.steps))
    first, second = files.get("the recipe"), files.get("seed 2")
    if first and second:
        both = spanpp_core.load(first, repair=0.5, repair_weights=second)
        steps = 2 * variants["the recipe"].steps
        rows.append(row("mean of the two seeds' weights", both, steps))
    columns = ["x2, x3, x4", "x1.5, x2.5, x3.5", "greys shift by", "steps"]
    names = ", ".join(tests)
    heading = f"{given.pixels / 1e6:g} million pixels each: dB on {names}"
    print(markdown(heading, columns, rows))


if __name__ == "__main__":
    main()
