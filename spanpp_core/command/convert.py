"""``spanpp convert``: any checkpoint to a slim safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from .. import checkpoint
from ..errors import CheckpointError


def convert(
    model: Annotated[Path, typer.Argument(help="The checkpoint to read.")],
    out: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    half: Annotated[
        bool, typer.Option("--half", help="Store float16: half the size.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
) -> None:
    """Write a checkpoint as slim safetensors: branches fused, nothing else kept."""
    if out.suffix.lower() != ".safetensors":
        raise CheckpointError(f"{out}: give a name that ends in .safetensors")
    if not out.parent.is_dir():
        raise CheckpointError(f"{out.parent}: no such folder")
    if out.exists() and not overwrite:
        raise CheckpointError(f"{out} exists; pass --overwrite to replace it")
    found = checkpoint.read(model)
    checkpoint.write_slim(out, found, torch.float16 if half else torch.float32)
    before, after = model.stat().st_size / 2**20, out.stat().st_size / 2**20
    print(f"{model} ({found.kind}, {before:.1f} MiB) -> {out} ({after:.1f} MiB)")
