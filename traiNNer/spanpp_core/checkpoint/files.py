"""Checkpoint files, as trainers write them: bytes on disk to a dict."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import tarfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore

from ..errors import CheckpointError, first_line
from . import pickles
from .canonical import Checkpoint, parse
from .metadata import continuous_of, read_metadata, repair_of

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
"""The kinds of file that are read."""

_HARMLESS: tuple[Any, ...] = (argparse.Namespace, np.dtype, np.float64, np.int64)
"""What training checkpoints carry beside tensors, and what executes nothing."""


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint file.

    Args:
        path: A ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt`` file. Pickles are read
            by PyTorch's weights-only unpickler; nothing in the file is executed.

    Raises:
        CheckpointError: The file cannot be read, or is not a whole SpanPP checkpoint.
    """
    path = Path(path)
    try:
        found = parse(read_tensors(path))
        metadata = read_metadata(path)
        return replace(
            found,
            continuous=continuous_of(metadata),
            repair=repair_of(metadata),
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_tensors(path: Path) -> dict[str, Any]:
    """Reads what a file holds, without asking what network it is.

    Raises:
        CheckpointError: The file is missing, damaged, of another type, may not be read,
            or holds a pickle with anything but tensors and plain containers.
    """
    if not path.is_file():
        raise CheckpointError("no such file; give the path of a checkpoint")
    if path.suffix.lower() not in SUFFIXES:
        raise CheckpointError(
            f"found a {path.suffix or 'nameless'} file, expected one of"
            f" {', '.join(SUFFIXES)}"
        )
    try:
        if path.suffix.lower() == ".safetensors":
            return dict(load_file(path))
        if tarfile.is_tarfile(path):
            # PyTorch's reader for this format predates the restricted unpickler
            raise CheckpointError(
                "found a tar archive (PyTorch before 0.1.10), which is not safe to"
                " read; save the state dict again with a current PyTorch"
            )
        pickles.check(path)
        with warnings.catch_warnings(), _harmless_allowed():
            warnings.simplefilter("ignore")  # what is wrong is said in one line
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except OSError as error:
        said = error.strerror or first_line(error)
        raise CheckpointError(f"cannot be read ({said})") from error
    except SafetensorError as error:
        raise CheckpointError(
            f"damaged or not a safetensors file ({first_line(error)}); expected a whole"
            " SpanPP checkpoint, get the file again"
        ) from error
    except Exception as error:
        raise CheckpointError(_pickle_failure(error)) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"found a pickled {type(content).__name__}, expected a state dict; save"
            " `model.state_dict()` and not the model itself"
        )
    return dict(cast("Mapping[str, Any]", content))


def _harmless_allowed() -> contextlib.AbstractContextManager[object]:
    """Lets the unpickler make the plain values that trainers store (PyTorch 2.5 on)."""
    allow = getattr(torch.serialization, "safe_globals", None)
    if allow is None:
        return contextlib.nullcontext()
    scalar: Any = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "b1")]
    return allow([*_HARMLESS, scalar, *dtypes])


def _pickle_failure(error: Exception) -> str:
    """What PyTorch's reader had to say, in one line."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return (
            f"holds the Python object {refused[1]}, which could run code and is not"
            " read; save `model.state_dict()` alone, or as safetensors"
        )
    # what PyTorch says here may be advice to read the file without any restriction
    return "damaged or not a PyTorch file; get the file again"
