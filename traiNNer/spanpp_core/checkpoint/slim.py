"""Slim files: the fused network as safetensors, with what it is in the metadata."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import load, save  # pyright: ignore
from torch import Tensor

from ..atomic_file import write_atomically
from ..errors import PrecisionError
from .canonical import Checkpoint, check_known
from .metadata import metadata_of


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
    metadata = metadata_of(
        checkpoint.hyper, continuous=checkpoint.continuous, repair=checkpoint.repair
    )
    return save(tensors, metadata)


def tensors_of_content(content: bytes) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file that is in memory."""
    return load(content)
