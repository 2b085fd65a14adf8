"""``spanpp train``: SpanPP on one's own photos."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from .. import images
from ..batch.upscaler import device_named
from ..errors import ImageError, TrainingError
from ..network.hyperparameters import Hyperparameters
from ..network.scale import MAX_SCALE, MIN_SCALE
from ..optional import require

MAX_SCALES = 8
"""Scales in one network: what ``MetaIGConv`` and public trainers allow."""

NEW_RATE = 1e-2
"""Muon's learning rate for a new network: half of the fastest that was stable."""

FURTHER_RATE = 3e-3
"""The same for one that is trained already."""


class Arithmetic(str, Enum):
    """What a step is computed in; the weights are float32 always."""

    fp32 = "fp32"
    bf16 = "bf16"

    @property
    def fabric(self) -> Any:
        """Its name in Fabric."""
        return {"fp32": "32-true", "bf16": "bf16-mixed"}[self.value]


def train(
    folder: Annotated[Path, typer.Argument(help="A folder of photos.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for weights, state and log.")
    ],
    more_scales: Annotated[
        list[int] | None,
        typer.Argument(metavar="scale", help="Further values of --scales."),
    ] = None,
    scales: Annotated[
        list[int] | None,
        typer.Option("--scales", "-s", help="One or more; 1 2 3 4 if absent."),
    ] = None,
    continuous: Annotated[
        bool, typer.Option("--continuous", help="Train on fractional scales too.")
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", "-w", help="A SpanPP file to begin with."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps in all.")] = 20_000,
    batch: Annotated[int, typer.Option(min=1, help="Pairs of patches a step.")] = 8,
    patch: Annotated[
        int, typer.Option(min=12, help="Side of the low-resolution patches, px.")
    ] = 48,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--lr",
            help="Share of a weight that a step changes at most; 0.01 if absent, 0.003"
            " with --weights.",
        ),
    ] = None,
    channels: Annotated[int, typer.Option(min=4, help="Of a new network.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and patches.")] = 0,
    precision: Annotated[
        Arithmetic, typer.Option(help="Of the arithmetic.")
    ] = Arithmetic.fp32,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, mps; the fastest if absent.")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="How many of them.")] = 1,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that prepare patches.")
    ] = 0,
    val: Annotated[
        Path | None, typer.Option(help="A folder of photos to measure PSNR on.")
    ] = None,
    save_every: Annotated[
        int, typer.Option(min=1, help="Steps between two saved states.")
    ] = 500,
) -> None:
    """Train SpanPP on photos, or go on with a run that was stopped.

    Low resolution is made from the photos by an antialiased bicubic downscale. OUT gets
    the averaged weights (spanpp.safetensors), the state to go on from (state.ckpt) and
    TensorBoard's log. The same command on the same folder goes on where it was.
    """
    require("Training", "train", "lightning_fabric", "tensorboard")
    from lightning_fabric import Fabric  # noqa: PLC0415  (an optional extra)

    from ..training import loop, start  # noqa: PLC0415
    from ..training.judge import psnr_by_scale  # noqa: PLC0415
    from ..training.patches import Patches, ScaleDraw, smallest_side  # noqa: PLC0415

    rate = learning_rate or (NEW_RATE if weights is None else FURTHER_RATE)
    # "--scales 1 2": the parser sees one value of an option and more arguments
    given = _checked([*(scales or [1, 2, 3, 4]), *(more_scales or [])])
    settings = {
        "photos": folder.name,
        "scales": given,
        "continuous": continuous,
        "weights": weights and weights.name,
        "steps": steps,
        "batch": batch,
        "patch": patch,
        "learning_rate": rate,
        "channels": channels,
        "seed": seed,
        "precision": precision.value,
        "devices": devices,
    }
    draw = ScaleDraw.continuous(given) if continuous else ScaleDraw.whole(given)
    if weights is not None:
        network = start.network_of(weights, given, seed)
    else:
        hyper = Hyperparameters(channels=channels, scales=given)
        network = start.new_network(hyper, seed)
    held_out = [] if val is None else _held_out(val)
    out.mkdir(parents=True, exist_ok=True)
    photos = _photos(folder, out, smallest_side(patch, draw))
    fabric = Fabric(
        accelerator=device_named(device).type,
        devices=devices,
        precision=precision.fabric,
    )
    fabric.launch()
    console = Console(stderr=True, markup=False, highlight=False)
    schedule = loop.Schedule(steps, rate, save_every=save_every)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not fabric.is_global_zero,
    ) as progress:
        task = progress.add_task("steps", total=steps)

        def show(report: loop.Report) -> None:
            text = f"x{report.scale:<5.4g} loss {report.loss:.4f}"
            progress.update(task, completed=report.step, description=text)

        def judge(network: Any) -> dict[str, float]:
            found = psnr_by_scale(network, held_out, [Fraction(s) for s in given])
            scores = "  ".join(f"{name} {value:.2f}" for name, value in found.items())
            console.print(scores, soft_wrap=True)
            return found

        loop.train(
            network,
            lambda rank: Patches(photos, draw, patch, batch, seed, rank),
            schedule,
            out,
            fabric=fabric,
            settings=settings,
            workers=workers,
            judge=judge if held_out else None,
            on_step=show,
        )
    if fabric.is_global_zero:
        print(out / loop.WEIGHTS)


def _checked(scales: Sequence[int]) -> tuple[int, ...]:
    good = all(MIN_SCALE <= scale <= MAX_SCALE for scale in scales)
    if not good or len(set(scales)) != len(scales):
        raise TrainingError(
            f"--scales {' '.join(map(str, scales))}: give whole numbers from {MIN_SCALE}"
            f" to {MAX_SCALE}, each once"
        )
    return tuple(sorted(scales))


def _photos(folder: Path, out: Path, smallest: int) -> Any:
    """The photos of a folder, packed in ``out`` when they are not there yet."""
    from ..training.photos import Photos  # noqa: PLC0415

    files = _in(folder)
    names = [(str(f.relative_to(folder)), f.stat().st_size) for f in files]
    if not files:
        raise TrainingError(f"{folder} has no images; give a folder of photos")
    key = json.dumps([names, smallest])
    path = out / "photos.bin"
    packed = Photos.open(path, key) or Photos.pack(_pixels(files), path, smallest, key)
    if not len(packed):
        raise TrainingError(
            f"{folder} has no photo whose shorter side is {smallest} px or more; give"
            " larger photos, or ask for a smaller --patch"
        )
    return packed


def _held_out(folder: Path) -> list[Tensor]:
    photos = [images.read(path).pixels for path in _in(folder)]
    if not photos or any(photo.shape[1] != 3 for photo in photos):
        raise TrainingError(
            f"--val {folder}: give a folder of images in colour, no alpha"
        )
    return photos


def _in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise TrainingError(f"{folder}: no such folder")
    return sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in images.IMAGE_SUFFIXES
    )


def _pixels(files: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    """Yields (H, W, 3) in [0, 255]; says which files cannot be read."""
    for path in files:
        try:
            pixels = images.read(path).pixels[0]
        except ImageError as error:
            typer.echo(f"skipped: {error}", err=True)
            continue
        colours = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
        yield colours.mul(255).round_().to(torch.uint8).movedim(0, -1).numpy()
