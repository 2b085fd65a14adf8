"""The line from a clean model to its repair model: every point on it is a model.

A repair model is a clean model trained further on photos as people have them, with JPEG
artefacts, blur and noise. Fine-tuned weights stay so close to those they began with that
every weighted mean of the two works as well (network interpolation, as in ESRGAN). The
two lie in two files, ``model.safetensors`` and ``model_repair.safetensors``: each is a
plain SpanPP checkpoint, which any loader reads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import RepairError
from .canonical import Checkpoint, parse
from .files import SUFFIXES, read

Source = str | os.PathLike[str] | Mapping[str, Any] | Checkpoint
"""The path of a file, a state dict, or what `read` or `parse` returned."""

ENDING = "_repair"
"""What a repair file is called after the name of its clean file."""

RELATED = 0.1
"""
The cosine between all weights of two networks, from which one was fine-tuned from the
other. After ten thousand steps it is 0.7; between networks trained apart it is within
0.01 of 0, and their mean is noise.
"""


def repaired(
    source: Source, repair: float = 0.0, weights: Source | None = None
) -> Checkpoint:
    """Returns the model that lies between a clean model and its repair model.

    Args:
        source: The clean model.
        repair: From 0 to 1. 0: ``source`` as it is. 1: the repair model. Between: the
            weighted mean of both, ``(1 - repair) * clean + repair * repaired``, of
            every tensor of the fused networks.
        weights: The repair model; by default the file beside ``source`` that
            `repair_file` finds.

    Raises:
        CheckpointError: One of the two is not a whole SpanPP model.
        RepairError: ``repair`` is not a number from 0 to 1, there is no repair model, or
            it was not fine-tuned from ``source``.
    """
    if not (isinstance(repair, Real) and 0 <= repair <= 1):  # pyright: ignore
        raise RepairError(
            f"repair is {repair!r}; give a number from 0 (clean) to 1 (full repair)"
        )
    clean = _checkpoint(source)
    if repair == 0 and weights is None:
        return clean
    name = f"{source}: " if isinstance(source, (str, os.PathLike)) else ""
    if clean.repair:
        raise RepairError(
            f"{name}already at repair {clean.repair:g}; give the clean model it was made"
            " from"
        )
    other = _checkpoint(_beside(source) if weights is None else weights)
    difference = _why_unrelated(clean, other)
    if difference:
        raise RepairError(
            f"{name}the repair model {difference}; give one that was trained from these"
            " weights"
        )
    return _between(clean, other, repair)


def repair_file(path: str | os.PathLike[str]) -> Path | None:
    """Returns the repair file beside a clean file, or None if there is none.

    Beside ``model.pth`` it is ``model_repair.pth``, or the same with another of the
    suffixes that `read` knows.
    """
    path = Path(path)
    names = (path.stem + ENDING + each for each in (path.suffix, *SUFFIXES))
    return next(filter(Path.is_file, map(path.with_name, names)), None)


def _checkpoint(source: Source) -> Checkpoint:
    if isinstance(source, Checkpoint):
        return source
    return parse(source) if isinstance(source, Mapping) else read(source)


def _beside(source: Source) -> Path:
    if not isinstance(source, (str, os.PathLike)):
        raise RepairError(
            "a state dict has no repair file beside it; give the repair weights too, or"
            " the path of a file"
        )
    found = repair_file(source)
    if found is None:
        path = Path(source)
        raise RepairError(
            f"{path} has no repair model; put the one that was trained from it beside"
            f" it, as {path.stem}{ENDING}{path.suffix}, or ask for repair 0"
        )
    return found


def _why_unrelated(clean: Checkpoint, other: Checkpoint) -> str | None:
    """What shows that a network was not fine-tuned from another; None if nothing does."""
    theirs = asdict(other.hyper)
    for name, value in asdict(clean.hyper).items():
        if theirs[name] != value:
            return f"has {name} = {theirs[name]} and the clean one {value}"
    ours, others = _weights(clean), _weights(other)
    cosine = float(torch.cosine_similarity(ours, others, dim=0))
    if cosine < RELATED:
        return f"is another network (the cosine between their weights is {cosine:.2f})"
    return None


def _weights(checkpoint: Checkpoint) -> Tensor:
    """Returns all weights in one vector; the files may hold them in any order."""
    tensors = (tensor for _, tensor in sorted(checkpoint.state_dict.items()))
    return torch.cat([each.flatten() for each in tensors if each.is_floating_point()])


def _between(clean: Checkpoint, other: Checkpoint, repair: float) -> Checkpoint:
    if repair in (0, 1):
        return replace(other if repair else clean, repair=repair)
    mean = {
        name: torch.lerp(tensor, other.state_dict[name], repair)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in clean.state_dict.items()
    }
    continuous = clean.continuous and other.continuous
    return replace(clean, state_dict=mean, continuous=continuous, repair=repair)
