"""A recipe carried out: its network, photos and device, and the loop over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..network.trainable import TrainableSpanPP
from . import loop
from .brightness import balanced, brightness_batches
from .losses import LOSSES
from .patches import Patches
from .photos import Photos
from .recipe import Recipe, TrainingPrecision
from .report import Report
from .validation import bicubic_by_scale, psnr_by_scale

FABRIC_PRECISIONS: Mapping[TrainingPrecision, Any] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
}

MOST_WORKERS = 16
"""Processes that prepare patches beside a GPU, at most."""


def launched(
    precision: TrainingPrecision, device: torch.device, devices: int = 1
) -> Fabric:
    """Returns Lightning Fabric on a device, its processes started.

    Args:
        precision: Of the network's body.
        device: One with a number is that very GPU. Fabric trains on no Intel GPU.
        devices: Number of GPUs or CPU processes.
    """
    fabric = Fabric(
        accelerator=device.type,
        devices=devices if device.index is None else [device.index],  # pyright: ignore
        precision=FABRIC_PRECISIONS[precision],
    )
    fabric.launch()
    return fabric


def settings_of(recipe: Recipe, photos: str, devices: int) -> dict[str, Any]:
    """Returns what `loop.train` stores with the weights, and compares on resuming.

    Args:
        recipe: What is trained, on what patches, and how.
        photos: What tells the photos from others, see `photo_folder.digest`.
        devices: Number of GPUs or CPU processes.
    """
    return asdict(replace(recipe, learning_rate=recipe.rate)) | {
        "weights": recipe.weights and Path(recipe.weights).name,
        "photos": photos,
        "devices": devices,
    }


def train_recipe(
    recipe: Recipe,
    network: TrainableSpanPP,
    photos: Photos,
    out: Path,
    *,
    fabric: Fabric,
    settings: Mapping[str, Any],
    save_every: int,
    workers: int | None = None,
    held_out: Sequence[Tensor] = (),
    on_scores: Callable[[str, Mapping[str, float]], None] = lambda name, scores: None,
    on_report: Callable[[Report], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Trains as a recipe says, or resumes what was begun in ``out``; see `loop.train`.

    Args:
        recipe: What is trained, on what patches, and how.
        network: The one that it begins with, see `initial_network`.
        photos: None of them smaller than `Recipe.smallest_side`.
        out: A folder.
        fabric: Where it runs, as `launched` returns it.
        settings: As for `loop.train`.
        save_every: Steps between two saved states.
        workers: Processes that prepare patches. None: one per CPU core beside a GPU, at
            most `MOST_WORKERS`, and none on CPUs. A GPU prepares them itself where low
            resolution is not degraded.
        held_out: Photos to validate with, (1, 3, H, W) each, in [0, 1].
        on_scores: Told the PSNR in dB at each scale, first that of "bicubic"
            interpolation, then that of the averaged "weights" at every validation.
        on_report: Called with the loss every 10 steps, every 100 on a GPU.
        should_stop: Asked after each step; then the state is saved and the run ends.

    Returns:
        The steps done in all.

    Raises:
        TrainingError: ``out`` has the state of a run with other settings, or the loss is
            not finite any more.
    """
    on_gpu = fabric.device.type == "cuda"
    # each shape comes thousands of times: cuDNN may look for its fastest way
    torch.backends.cudnn.benchmark = on_gpu
    if on_gpu and recipe.degrade == "none":
        photos, workers = photos.to(fabric.device), 0
    elif workers is None:
        cores = os.cpu_count() or 1
        workers = 0 if fabric.device.type == "cpu" else min(MOST_WORKERS, cores)
    scales = recipe.validation_scales()

    def patches(rank: int) -> Patches:
        return recipe.patches(photos, rank)

    def validate(average: TrainableSpanPP) -> Mapping[str, float]:
        scores = psnr_by_scale(average, held_out, scales)
        on_scores("weights", scores)
        return scores

    def finish(average: TrainableSpanPP) -> TrainableSpanPP:
        return balanced(average, brightness_batches(patches(0)))

    if held_out:
        on_scores("bicubic", bicubic_by_scale(held_out, scales))
    return loop.train(
        network,
        patches,
        # a report waits for the GPU
        recipe.schedule(save_every, log_every=100 if on_gpu else 10),
        out,
        fabric=fabric,
        settings=settings,
        loss_of=lambda step: LOSSES[recipe.loss_of(step)],
        colours=recipe.colours,
        workers=workers,
        compiled=on_gpu and not recipe.branches and find_spec("triton") is not None,
        captured=on_gpu and fabric.world_size == 1 and torch.version.hip is None,
        validate=validate if held_out else None,
        on_report=on_report,
        should_stop=should_stop,
        finish=finish,
    )
