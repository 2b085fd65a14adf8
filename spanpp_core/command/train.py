"""``spanpp train``: SpanPP on one's own photos."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from ..checkpoint import read
from ..devices import device_named
from ..errors import TrainingError
from ..network.hyperparameters import Hyperparameters
from ..network.trainable import TrainableSpanPP
from ..optional import require
from ..training.degradation import DegradationName
from ..training.losses import LossName
from ..training.recipe import FURTHER_RATE, NEW_RATE, Recipe, TrainingPrecision
from .choices import precision_option
from .training_console import Display, Stop

FABRIC_PRECISIONS: Mapping[TrainingPrecision, Any] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
}


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
    from lightning_fabric import Fabric  # noqa: PLC0415  (an optional extra)

    from ..training import loop, photo_folder  # noqa: PLC0415
    from ..training.brightness import balanced, brightness_batches  # noqa: PLC0415
    from ..training.losses import LOSSES  # noqa: PLC0415
    from ..training.patches import smallest_side  # noqa: PLC0415
    from ..training.state import WEIGHTS  # noqa: PLC0415
    from ..training.validation import bicubic_by_scale, psnr_by_scale  # noqa: PLC0415

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
    made = Recipe.read(recipe, given)
    made = _as_the_weights(made, console)
    if made.weights is not None and channels is not None:
        raise TrainingError(
            f"--channels {channels} is of a new network, and --weights {made.weights}"
            " has its own; give one of the two"
        )
    network = _network(made)
    held_out = [] if val is None else photo_folder.whole(val)
    chosen = device_named(device)
    if device is None and chosen.type == "xpu":  # Fabric knows no Intel GPUs
        chosen = torch.device("cpu")
    on_gpu = chosen.type == "cuda"
    # a report waits for the GPU
    schedule = made.schedule(save_every, log_every=100 if on_gpu else 10)
    settings = asdict(replace(made, learning_rate=schedule.learning_rate)) | {
        "weights": made.weights and Path(made.weights).name,
        "photos": photo_folder.digest(folder),
        "devices": devices,
    }
    photos = photo_folder.packed(
        folder,
        out,
        smallest_side(made.patch, made.draw()),
        lambda error: console.print(f"skipped: {error}", soft_wrap=True),
    )
    fabric = Fabric(
        accelerator=chosen.type,
        devices=devices if chosen.index is None else [chosen.index],  # pyright: ignore
        precision=FABRIC_PRECISIONS[made.precision],
    )
    fabric.launch()
    # each shape comes thousands of times: cuDNN may look for its fastest way
    torch.backends.cudnn.benchmark = on_gpu
    if on_gpu and made.degrade == "none":
        photos, workers = photos.to(fabric.device), 0
    elif workers is None:
        workers = 0 if chosen.type == "cpu" else min(16, os.cpu_count() or 1)

    patches, exact = partial(made.patches, photos), _validation_scales(made)
    stop = Stop(minutes)
    pixels = made.batch * devices * made.patch**2
    with Display(made.steps, pixels, console, fabric.is_global_zero) as display, stop:

        def validate(network: TrainableSpanPP) -> Mapping[str, float]:
            found = psnr_by_scale(network, held_out, exact)
            display.tell("weights", found)
            return found

        if held_out:
            display.tell("bicubic", bicubic_by_scale(held_out, exact))
        done = loop.train(
            network,
            patches,
            schedule,
            out,
            fabric=fabric,
            settings=settings,
            loss_of=lambda step: LOSSES[made.loss_of(step)],
            colours=made.colours,
            workers=workers,
            compiled=on_gpu and not made.branches and find_spec("triton") is not None,
            captured=on_gpu and devices == 1 and torch.version.hip is None,
            validate=validate if held_out else None,
            on_report=display.show,
            should_stop=stop,
            finish=lambda average: balanced(average, brightness_batches(patches(0))),
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


def _validation_scales(recipe: Recipe) -> list[Fraction]:
    """The trained scales, and a fraction if some are trained."""
    whole = [Fraction(scale) for scale in recipe.scales]
    between = [Fraction(s) for s in recipe.draw().scales if s.denominator == 2]
    return sorted({*whole, *between[:1]})


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


def _network(recipe: Recipe) -> TrainableSpanPP:
    from ..training import initial_network  # noqa: PLC0415

    if recipe.weights is None:
        hyper = Hyperparameters(channels=recipe.channels, scales=recipe.scales)
        return initial_network.new_network(hyper, recipe.seed, recipe.branches)
    path = Path(recipe.weights)
    return initial_network.network_of(path, recipe.scales, recipe.seed, recipe.branches)
