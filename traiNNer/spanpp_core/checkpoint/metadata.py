"""What a safetensors file says about a model beside its tensors: text by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast

from safetensors import safe_open

from ..network.hyperparameters import Hyperparameters

_CONTINUOUS = "continuous"
"""It is "true" of a model trained on fractional scales too."""

_REPAIR = "repair"
"""From 0, a clean model, to 1, its repair model."""


def metadata_of(
    hyper: Hyperparameters, *, continuous: bool, repair: float
) -> dict[str, str]:
    """Returns what is written beside the tensors of a model.

    Args:
        hyper: For people: they are read from the shapes.
        continuous: See `Checkpoint.continuous`.
        repair: See `Checkpoint.repair`.
    """
    return {
        "format": "pt",
        "architecture": "SpanPP",
        "scales": json.dumps(hyper.scales),
        _CONTINUOUS: json.dumps(continuous),
        _REPAIR: json.dumps(repair),
        "hyperparameters": json.dumps(asdict(hyper)),
    }


def read_metadata(path: Path) -> Mapping[str, str]:
    """Returns the metadata of a safetensors file; other files have none."""
    if path.suffix.lower() != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:  # pyright: ignore
        return cast("dict[str, str] | None", file.metadata()) or {}


def continuous_of(metadata: Mapping[str, str]) -> bool:
    """Returns what metadata says of `Checkpoint.continuous`; False if nothing."""
    return metadata.get(_CONTINUOUS) == "true"


def repair_of(metadata: Mapping[str, str]) -> float:
    """Returns what metadata says of `Checkpoint.repair`; 0 if nothing."""
    try:
        stated = float(metadata.get(_REPAIR, 0))
    except ValueError:
        return 0.0
    return stated if 0 <= stated <= 1 else 0.0
