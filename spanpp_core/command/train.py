"""``spanpp train``: SpanPP on one's own photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from ..checkpoint import read
from ..devices import device_named
from ..errors import TrainingError
from ..optional import require
from ..training import photo_folder
from ..training.degradation import DegradationName
from ..training.initial_network import initial_network
from ..training.losses import LossName
from ..training.recipe import FURTHER_RATE, NEW_RATE, Recipe, TrainingPrecision
from ..training.recipe_file import read_recipe
from ..training.state import WEIGHTS
from .choices import precision_option
from .training_console import Display, Stop


def train(
    folder: Annotated[Path, typer.Argument(help="A folder of photos.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for weights, state and log.")
    ],
    more_scales: Annotated[
        list[int] | None,
        typer.Argument(metavar="scale", help="Further values of --scales."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="A TOML file of settings; options given here override it."),
    ] = None,
    scales: Annotated[
        list[int] | None,
        typer.Option("--scales", "-s", help="One or more. Default: 1 2 3 4."),
    ] = None,
    continuous: Annotated[
        bool | None,
        typer.Option(
            "--continuous/--whole",
            help="Train on fractional scales too. Default: as --weights were.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", "-w", help="A SpanPP file to start from."),
    ] = None,
    branches: Annotated[
        bool | None,
        typer.Option(
            "--branches/--plain",
            help="Train three branches per convolution (the default), or only the fused"
            " convolutions, in half the time.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help=f"In all. Default: {Recipe.steps}.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0, help="Stop and save after so long; the same command resumes."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"Pairs of patches per step. Default: {Recipe.batch}."
        ),
    ] = None,
    patch: Annotated[
        int | None,
        typer.Option(
            min=12,
            help=f"Side of low-resolution patches in pixels. Default: {Recipe.patch}.",
        ),
    ] = None,
    degrade: Annotated[
        DegradationName | None,
        typer.Option(
            help="photo: low resolution also gets blur, noise and JPEG artefacts."
            " Default: none."
        ),
    ] = None,
    loss: Annotated[LossName | None, typer.Option(help="Default: l1.")] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--lr",
            help="Learning rate: the largest share of a weight that a step changes."
            f" Default: {NEW_RATE:g}; with --weights {FURTHER_RATE:g}.",
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(min=4, help=f"Of a new network. Default: {Recipe.channels}."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of weights and patches. Default: 0.")
    ] = None,
    precision: Annotated[
        TrainingPrecision | None,
        precision_option(TrainingPrecision, "Of the body. Default: fp32."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1, mps, ... Default: the fastest."),
    ] = None,
    devices: Annotated[
        int, typer.Option(min=1, help="Number of GPUs or CPU processes.")
    ] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that prepare patches. Default: one per CPU core beside a GPU;"
            " 0 on CPUs, and without --degrade, where the GPU prepares them.",
        ),
    ] = None,
    val: Annotated[
        Path | None, typer.Option(help="A folder of photos to measure PSNR on.")
    ] = None,
    save_every: Annotated[
        int, typer.Option(min=1, help="Steps between saved states.")
    ] = 500,
) -> None:
    """Train SpanPP on photos, or resume a stopped run.

    Low resolution is made from the photos by an antialiased bicubic downscale. OUT gets
    the averaged weights (spanpp.safetensors), the state to resume from (state.ckpt) and
    TensorBoard's log. The same command on the same folder resumes; --steps and --lr may
    differ then. Ctrl-C stops after the current step and saves.
    """
    require("Training", "train", "lightning_fabric", "tensorboard")
    from ..training.run import (  # noqa: PLC0415  (an optional extra)
        launched,
        settings_of,
        train_recipe,
    )

    console = Console(stderr=True, markup=False, highlight=False)
    options = {
        # "--scales 1 2": the parser sees one value of an option and more arguments
        "scales": [*(scales or []), *(more_scales or [])] or None,
        "continuous": continuous,
        "weights": weights and str(weights),
        "branches": branches,
        "steps": steps,
        "batch": batch,
        "patch": patch,
        "degrade": degrade,
        "loss": loss,
        "learning_rate": learning_rate,
        "channels": channels,
        "seed": seed,
        "precision": precision,
    }
    given = {name: value for name, value in options.items() if value is not None}
    made = _as_the_weights(read_recipe(recipe, given), console)
    if made.weights is not None and channels is not None:
        raise TrainingError(
            f"--channels {channels} is of a new network, and --weights {made.weights}"
            " has its own; give one of the two"
        )
    network = initial_network(made)
    held_out = [] if val is None else photo_folder.whole(val)
    where = _training_device(device)
    settings = settings_of(made, photo_folder.digest(folder), devices)
    photos = photo_folder.packed(
        folder,
        out,
        made.smallest_side,
        lambda error: console.print(f"skipped: {error}", soft_wrap=True),
    )
    fabric = launched(made.precision, where, devices)
    stop = Stop(minutes)
    pixels = made.batch * devices * made.patch**2
    with Display(made.steps, pixels, console, fabric.is_global_zero) as display, stop:
        done = train_recipe(
            made,
            network,
            photos,
            out,
            fabric=fabric,
            settings=settings,
            save_every=save_every,
            workers=workers,
            held_out=held_out,
            on_scores=display.tell,
            on_report=display.show,
            should_stop=stop,
        )
    if fabric.is_global_zero:
        if done < made.steps:
            console.print(
                f"stopped and saved at step {done} of {made.steps}; the same command"
                " resumes",
                soft_wrap=True,
            )
        print(out / WEIGHTS)
    if stop.interrupted:
        raise typer.Exit(130)


def _training_device(name: str | None) -> torch.device:
    """Returns the device named, or the fastest that Fabric trains on: no Intel GPU."""
    device = device_named(name)
    is_left_out = name is None and device.type == "xpu"
    return torch.device("cpu") if is_left_out else device


def _as_the_weights(recipe: Recipe, console: Console) -> Recipe:
    """Decides whether fractional scales are trained, where nothing says it."""
    if recipe.weights is None:
        return replace(recipe, continuous=bool(recipe.continuous))
    theirs = read(recipe.weights).continuous
    if theirs and recipe.continuous is False:
        console.print(
            "these weights know fractional scales, which --whole makes them forget",
            soft_wrap=True,
        )
    asked = theirs if recipe.continuous is None else recipe.continuous
    return replace(recipe, continuous=asked)
