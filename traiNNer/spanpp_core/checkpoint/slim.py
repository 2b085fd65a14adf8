"""Slim files: the fused network as safetensors, with what it is in the metadata."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from safetensors.torch import load, save  # pyright: ignore
from torch import Tensor

from ..atomic_file import write_atomically
from ..errors import PrecisionError
from .canonical import Checkpoint, check_known

CONTINUOUS = "continuous"
"""The metadata that says "true" of a model trained on fractional scales too."""

REPAIR = "repair"
"""The metadata that tells a repair model, 1, and those on the way to it, from clean ones."""


def metadata(path: Path) -> dict[str, str]:
    """Returns the metadata of a safetensors file; other files have none."""
    if path.suffix.lower() != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:  # pyright: ignore
        return cast("dict[str, str] | None", file.metadata()) or {}


def repair_of(facts: dict[str, str]) -> float:
    """Returns what the metadata says of `Checkpoint.repair`; 0 if nothing."""
    try:
        stated = float(facts.get(REPAIR, 0))
    except ValueError:
        return 0.0
    return stated if 0 <= stated <= 1 else 0.0


def write_slim(
    path: str | os.PathLike[str],
    checkpoint: Checkpoint,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes the fused network as safetensors, with what it is in the metadata.

    The file appears whole or not at all: it is written beside its place and renamed.

    Args:
        path: Where to write, in a folder that exists.
        checkpoint: What `read` or `parse` returned.
        dtype: float32, float16 or bfloat16, of the stored weights.

    Raises:
        PrecisionError: ``dtype`` is none of these, or too small for a weight.
    """
    write_atomically(Path(path), slim_content(checkpoint, dtype))


def slim_content(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> bytes:
    """Returns what `write_slim` writes.

    Raises:
        PrecisionError: As for `write_slim`.
    """
    check_known(dtype)
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in checkpoint.state_dict.items()
    }
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise PrecisionError(
                f"{name} holds values too large for {dtype}; store float32 instead"
            )
    facts = {
        "format": "pt",
        "architecture": "SpanPP",
        "scales": json.dumps(checkpoint.hyper.scales),
        CONTINUOUS: json.dumps(checkpoint.continuous),
        REPAIR: json.dumps(checkpoint.repair),
        "hyperparameters": json.dumps(asdict(checkpoint.hyper)),
    }
    return save(tensors, facts)


def tensors_of_content(content: bytes) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file that is in memory."""
    return load(content)
