"""Checkpoint files: bytes on disk <-> the canonical state dict of the network.

The canonical state dict is the one `SpanPP` has: fused convolutions, the kernel
generator and ``MetaIGConv``, all floats in float32. Whatever a file looks like on the
outside (wrappers, prefixes, training branches, half precision), `parse` brings it here
or says in one line why it can not.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save  # pyright: ignore
from spandrel import MAIN_REGISTRY, canonicalize_state_dict
from torch import Tensor

from .errors import CheckpointError
from .network.branches import SpanPPBranches
from .network.model import Hyperparameters, SpanPP
from .network.reparam import BRANCH_TENSORS, fuse
from .network.scale import MAX_SCALE, MIN_SCALE

logger = logging.getLogger(__name__)

Kind = Literal["training", "fused"]

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
"""The kinds of file that are read."""

_SIGNATURE = "upsampler.freq"
"""The tensor by whose name a SpanPP state dict is found, whatever wraps it."""

_AVERAGED = re.compile(r"(^|[._-])ema")
"""Of several networks in one file, the one with averaged weights is meant."""

_CONVS = (
    "conv0",
    *(f"block_{block}.c{conv}_r" for block in range(1, 7) for conv in range(1, 4)),
    "conv_2",
)
"""The convolutions that are trained as three branches."""


@dataclass(frozen=True)
class Checkpoint:
    """A SpanPP checkpoint, whatever file it came from."""

    hyper: Hyperparameters
    kind: Kind
    """Whether the file held training branches or only the fused network."""
    dtype: torch.dtype
    """The dtype the weights were stored in; `state_dict` holds float32."""
    state_dict: dict[str, Tensor]
    """The canonical state dict, ready for `SpanPP.load_state_dict`."""
    stale_caches: tuple[str, ...]
    """Stored fused kernels that disagree with the branches beside them (ignored)."""


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint file.

    Args:
        path: A ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt`` file. Pickles are read
            by PyTorch's weights-only unpickler; nothing in the file is executed.

    Raises:
        CheckpointError: The file can not be read, or is not a whole SpanPP checkpoint.
    """
    path = Path(path)
    try:
        return parse(read_tensors(path))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_tensors(path: Path) -> dict[str, Any]:
    """Reads what a file holds, without asking what network it is.

    Raises:
        CheckpointError: The file is missing, damaged, of another type, or holds a
            pickle with anything but tensors and plain containers.
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
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except SafetensorError as error:
        raise CheckpointError(
            f"damaged or not a safetensors file ({_first_line(error)}); expected a whole"
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


def parse(state_dict: Mapping[str, Any]) -> Checkpoint:
    """Makes the canonical checkpoint of a state dict; the argument is left untouched.

    Fused kernels are computed again from the branches wherever branches exist, because
    the ones stored beside them are out of date in most training checkpoints.

    Raises:
        CheckpointError: It is not a SpanPP state dict, or not a whole one.
    """
    found = find(state_dict)
    if found is None:
        raise CheckpointError(f"found {_what_it_is(state_dict)}; expected SpanPP")
    if _is_spanc(found):
        raise CheckpointError(
            "found neosr's SpanC, another network with similar names; expected SpanPP"
        )
    branches = {f"{conv}.{name}" for conv in _CONVS for name in BRANCH_TENSORS}
    kind: Kind = "fused" if branches.isdisjoint(found) else "training"
    hyper = _hyperparameters(found, kind)
    network = SpanPPBranches if kind == "training" else SpanPP
    with torch.device("meta"):
        shapes = {k: t.shape for k, t in network(hyper).state_dict().items()}
    tensors = _checked(found, shapes)
    canonical = {k: t for k, t in tensors.items() if k not in branches}
    canonical["MetaIGConv"] = torch.tensor(hyper.scales, dtype=torch.uint8)
    stale: list[str] = []
    if kind == "training":
        for conv in _CONVS:
            fused = fuse({name: tensors[f"{conv}.{name}"] for name in BRANCH_TENSORS})
            for part, value in fused._asdict().items():
                name = f"{conv}.conv_3x3_rep.{part}"
                canonical[name] = value
                if name in found and not _agrees(found[name], value):
                    stale.append(name)
    if stale:
        logger.debug(
            "%d of the stored fused tensors disagree with the branches beside them"
            " (first: %s); fused again from the branches",
            len(stale),
            stale[0],
        )
    return Checkpoint(
        hyper, kind, found["conv_cat.weight"].dtype, canonical, tuple(stale)
    )


def find(state_dict: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the SpanPP tensors within a state dict under their own names.

    Looks through wrappers (``params_ema``, ``state_dict``, ...) and drops any prefix
    (``module.``, ``net_g.``, ...). None if there is no SpanPP in it.
    """
    for candidate in _nested(state_dict, depth=3):
        prefixes = [
            key[: -len(_SIGNATURE)]
            for key in candidate
            if key == _SIGNATURE or key.endswith("." + _SIGNATURE)
        ]
        if prefixes:
            prefix = next(filter(_AVERAGED.search, prefixes), prefixes[0])
            return {
                key[len(prefix) :]: value
                for key, value in candidate.items()
                if key.startswith(prefix)
            }
    return None


def is_spanpp(state_dict: Mapping[str, Any]) -> bool:
    """Whether a state dict, wrapped and prefixed as it may be, is one of SpanPP."""
    found = find(state_dict)
    return found is not None and not _is_spanc(found)


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
    """
    path = Path(path)
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in checkpoint.state_dict.items()
    }
    metadata = {
        "format": "pt",
        "architecture": "SpanPP",
        "scales": json.dumps(checkpoint.hyper.scales),
        "hyperparameters": json.dumps(asdict(checkpoint.hyper)),
    }
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(save(tensors, metadata))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


# What is in the dict ------------------------------------------------------------------


def _nested(content: object, depth: int) -> Iterator[dict[str, Any]]:
    """Yields the state dicts within a dict, averaged weights first, and then itself."""
    if not isinstance(content, Mapping) or depth < 0:
        return
    named = {
        k: v
        for k, v in cast("Mapping[Any, Any]", content).items()
        if isinstance(k, str)
    }
    for name in sorted(named, key=lambda name: not _AVERAGED.search(name)):
        yield from _nested(named[name], depth - 1)
    yield named


def _is_spanc(tensors: Mapping[str, Any]) -> bool:
    return "upsampler.coord_map" in tensors or any(
        key.startswith("block_1.conv_a.") for key in tensors
    )


def _what_it_is(content: Mapping[str, Any]) -> str:
    """Names the network of a state dict for an error message, if spandrel knows it."""
    tensors = [
        {name: value for name, value in nested.items() if isinstance(value, Tensor)}
        for nested in _nested(content, depth=3)
    ]
    found = next(filter(None, tensors), None)
    if found is None:
        return "no tensors"
    if any(key.endswith("block_1.c1_r.conv_3x3_rep.weight") for key in found):
        return (
            "a SpanPP frozen at one scale, without the kernel generator that makes the"
            " others"
        )
    canonical = canonicalize_state_dict(found)
    for support in MAIN_REGISTRY.architectures("detection"):
        # a stranger's dict may confuse any detector
        with contextlib.suppress(Exception):
            if support.architecture.detect(canonical):
                return f"a {support.architecture.name} model"
    return "a network that is not known here"


def _hyperparameters(tensors: Mapping[str, Any], kind: Kind) -> Hyperparameters:
    """Derives every hyper-parameter from shapes."""
    first = "conv0.conv2.weight" if kind == "training" else "conv0.conv_3x3_rep.weight"
    channels, in_channels = _shape(tensors, first, 4)[:2]
    taps, implicit_dim = _shape(tensors, _SIGNATURE, 4)[:2]
    kernel_size = math.isqrt(taps // channels) if channels else 0
    if kernel_size % 2 == 0 or kernel_size**2 * channels != taps or implicit_dim % 2:
        raise CheckpointError(
            f"{_SIGNATURE} has {taps} rows of {implicit_dim}; expected"
            f" {channels} * K * K rows for an odd K, of an even number"
        )
    layers = [
        key
        for key in tensors
        if re.fullmatch(r"upsampler\.query_kernel\.\d+\.weight", key)
    ]
    return Hyperparameters(
        channels=channels,
        in_channels=in_channels,
        kernel_size=kernel_size,
        implicit_dim=implicit_dim,
        latent_layers=max(len(layers) - 1, 0),
        scales=_scales(tensors.get("MetaIGConv")),
    )


def _shape(tensors: Mapping[str, Any], name: str, dims: int) -> tuple[int, ...]:
    tensor = tensors.get(name)
    if not isinstance(tensor, Tensor) or tensor.ndim != dims:
        shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else "missing"
        raise CheckpointError(f"{name} is {shape}; expected a tensor of {dims} axes")
    return tuple(tensor.shape)


def _scales(meta: object) -> tuple[int, ...]:
    """The trained scales; a host's model interpolation leaves them as floats."""
    if meta is None:
        return Hyperparameters.scales
    if not isinstance(meta, Tensor) or meta.is_complex() or meta.is_sparse:
        raise CheckpointError("MetaIGConv is not a list of scales")
    values = cast("list[float]", meta.flatten().tolist())
    if not values:
        return Hyperparameters.scales
    if not all(MIN_SCALE - 0.5 <= value < MAX_SCALE + 0.5 for value in values):
        raise CheckpointError(
            f"MetaIGConv lists the trained scales {values[:16]}; expected whole numbers"
            f" from {MIN_SCALE} to {MAX_SCALE}"
        )
    return tuple(sorted({round(value) for value in values}))


def _checked(
    found: Mapping[str, Any], shapes: Mapping[str, torch.Size]
) -> dict[str, Tensor]:
    """Returns the tensors named in ``shapes`` in float32, or says what is wrong."""
    wanted = {name: shape for name, shape in shapes.items() if name != "MetaIGConv"}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise CheckpointError(
            f"{len(missing)} of {len(wanted)} tensors are missing (first: {missing[0]});"
            " the file is damaged or was saved only in part, get it again"
        )
    checked: dict[str, Tensor] = {}
    for name, shape in wanted.items():
        tensor = found[name]
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            raise CheckpointError(f"{name} is not a plain tensor; expected one")
        if tensor.shape != shape:
            raise CheckpointError(
                f"{name} has the shape {tuple(tensor.shape)}; expected {tuple(shape)}"
            )
        if not tensor.is_floating_point():
            raise CheckpointError(f"{name} is {tensor.dtype}; expected floating point")
        value = tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
        if not value.isfinite().all():
            raise CheckpointError(
                f"{name} holds NaN or infinite values; the training went wrong or the"
                " file is damaged, use another checkpoint"
            )
        checked[name] = value
    return checked


def _agrees(stored: object, fused: Tensor) -> bool:
    return (
        isinstance(stored, Tensor)
        and stored.shape == fused.shape
        and torch.allclose(
            stored.float().cpu(), fused, rtol=1e-3, atol=1e-3 * float(fused.abs().max())
        )
    )


def _pickle_failure(error: Exception) -> str:
    """What PyTorch's reader had to say, in one line."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return (
            f"holds the Python object {refused[1]}, which could run code and is not"
            " read; save `model.state_dict()` alone, or as safetensors"
        )
    if "TorchScript" in str(error):
        return "found a TorchScript program; expected a state dict"
    return f"damaged or not a PyTorch file ({_first_line(error)}); get the file again"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
