"""``spanpp info``: what a checkpoint is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import checkpoint
from ..descriptor import bundled_model
from ..network.body import BODY_RADIUS
from .facts import print_facts


def info(
    model: Annotated[
        Path | None, typer.Argument(help="A SpanPP file. Default: the bundled one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a SpanPP file holds: scales, repair model, size of the network."""
    path = model or bundled_model()
    facts = describe(path)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    print_facts({name.replace("_", " "): value for name, value in facts.items()})


def describe(path: Path) -> dict[str, Any]:
    """Returns what `info` prints.

    Raises:
        CheckpointError: The file is not a whole SpanPP checkpoint.
    """
    found = checkpoint.read(path)
    beside = checkpoint.repair_file(path)
    hyper = asdict(found.hyper)
    parameters = sum(
        tensor.numel()
        for tensor in found.state_dict.values()
        if tensor.is_floating_point()
    )
    return {
        "file": str(path),
        "architecture": "SpanPP",
        "weights": found.kind,
        "stored_as": str(found.dtype).removeprefix("torch."),
        "default_scale": found.hyper.default_scale,
        "trained_scales": list(hyper.pop("scales")),
        "fractional_scales": "native" if found.continuous else "downscale",
        "repair": found.repair,
        "repair_file": None if beside is None else str(beside),
        **hyper,
        "parameters": parameters,
        "halo_pixels": BODY_RADIUS + found.hyper.kernel_size // 2,
        "outdated_kernels_ignored": len(found.stale_caches),
    }
