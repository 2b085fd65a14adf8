"""The canonical checkpoint of a state dict, or what is wrong with it."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeGuard, cast

import torch
from torch import Tensor

from ..errors import CheckpointError, PrecisionError
from ..network.branches import SpanPPBranches
from ..network.hyperparameters import Hyperparameters
from ..network.model import SpanPP
from ..network.reparam import BRANCH_TENSORS, fuse
from ..network.scale import MAX_SCALE, MIN_SCALE
from .find import SIGNATURE, find, is_spanc, what_it_is
from .float16_range import FLOAT16_MAX, HEADROOM, largest_value

logger = logging.getLogger(__name__)

Kind = Literal["training", "fused"]

_MAX_SCALES = 64
"""Entries of ``MetaIGConv``, duplicates included, that are taken for a list of scales."""

_MAX_LAYERS = 64
"""Of the kernel generator: to build thousands, even of nothing, takes minutes."""

_CONVS = (
    "conv0",
    *(f"block_{block}.c{conv}_r" for block in range(1, 7) for conv in range(1, 4)),
    "conv_2",
)
"""The convolutions that are trained as three branches."""


_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""What weights are held in; float64 to check the others."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A SpanPP checkpoint, whatever file it came from."""

    hyper: Hyperparameters
    kind: Kind
    """Whether the file held training branches or only the fused network."""
    dtype: torch.dtype
    """The dtype the weights were stored in; `state_dict` holds float32."""
    state_dict: dict[str, Tensor] = field(repr=False)
    """The canonical state dict, ready for `SpanPP.load_state_dict`."""
    stale_caches: tuple[str, ...]
    """Stored fused kernels that disagree with the branches beside them (ignored)."""
    continuous: bool = False
    """Whether the file says that the model was trained on fractional scales too."""
    repair: float = 0.0
    """From 0, a clean model, to 1, its repair model; see `repaired`."""

    @cached_property
    def why_not_float16(self) -> str | None:
        """Why the network cannot run in float16, in a line; None if it can."""
        largest = largest_value(self.hyper, self.state_dict)
        if largest * HEADROOM <= FLOAT16_MAX:
            return None
        return (
            f"values in this network reach {largest:.2g} on noise, and float16 ends at"
            f" {FLOAT16_MAX:.0f}"
        )

    def check_dtype(self, dtype: torch.dtype) -> None:
        """Raises PrecisionError if the network cannot run in a dtype."""
        check_known(dtype)
        if dtype == torch.float16 and self.why_not_float16:
            raise PrecisionError(f"{self.why_not_float16}; use float32")


def check_known(dtype: torch.dtype) -> None:
    """Raises PrecisionError if weights are not held in a dtype, or it is the name of one."""
    if dtype not in _DTYPES:
        raise PrecisionError(
            f"dtype is {dtype!r}; give torch.float32, torch.float16 or torch.bfloat16"
        )


def parse(state_dict: Mapping[str, Any]) -> Checkpoint:
    """Makes the canonical checkpoint of a state dict; the argument is left untouched.

    Fused kernels are computed again from the branches wherever branches exist, because
    the ones stored beside them are out of date in most training checkpoints.

    Raises:
        CheckpointError: It is not a SpanPP state dict, or not a whole one.
    """
    found = find(state_dict)
    if found is None:
        raise CheckpointError(f"found {what_it_is(state_dict)}; expected SpanPP")
    if is_spanc(found):
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
    canonical["MetaIGConv"] = torch.tensor(
        hyper.scales, dtype=torch.uint8, device="cpu"
    )
    stale: list[str] = []
    if kind == "training":
        for conv in _CONVS:
            fused = fuse({name: tensors[f"{conv}.{name}"] for name in BRANCH_TENSORS})
            for part, value in fused._asdict().items():
                name = f"{conv}.conv_3x3_rep.{part}"
                _check_finite(name, value)
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


def _hyperparameters(tensors: Mapping[str, Any], kind: Kind) -> Hyperparameters:
    """Derives every hyper-parameter from shapes."""
    first = "conv0.conv2.weight" if kind == "training" else "conv0.conv_3x3_rep.weight"
    channels, in_channels = _shape(tensors, first, 4)[:2]
    taps, implicit_dim = _shape(tensors, SIGNATURE, 4)[:2]
    kernel_size = math.isqrt(taps // channels) if channels else 0
    if not in_channels:
        raise CheckpointError(f"{first} reads no channels; expected 1 or more")
    is_even = implicit_dim > 0 and implicit_dim % 2 == 0
    if kernel_size % 2 == 0 or kernel_size**2 * channels != taps or not is_even:
        raise CheckpointError(
            f"{SIGNATURE} has {taps} rows of {implicit_dim}; expected"
            f" {channels} * K * K rows for an odd K, of an even number"
        )
    layers = [
        key
        for key in tensors
        if re.fullmatch(r"upsampler\.query_kernel\.\d+\.weight", key)
    ]
    if len(layers) > _MAX_LAYERS:
        raise CheckpointError(
            f"upsampler.query_kernel has {len(layers)} layers; at most {_MAX_LAYERS} are"
            " read, the published networks have 5"
        )
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
    if not _is_plain(tensor) or tensor.ndim != dims:
        shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else "missing"
        raise CheckpointError(
            f"{name} is {shape}; expected a plain tensor of {dims} axes"
        )
    return tuple(tensor.shape)


def _is_plain(value: object) -> TypeGuard[Tensor]:
    """Whether a value is a tensor whose numbers are all there, once each.

    A sparse, quantised, meta or expanded one can claim any size from a few bytes.
    """
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type != "meta"
        and not value.is_quantized
        and not value.is_complex()
        and value.untyped_storage().nbytes() >= value.numel() * value.element_size()
    )


def _scales(meta: object) -> tuple[int, ...]:
    """The trained scales; a host's model interpolation leaves them as floats."""
    if meta is None:
        return Hyperparameters.scales
    if not _is_plain(meta) or meta.numel() > _MAX_SCALES:
        raise CheckpointError(
            f"MetaIGConv is not a list of at most {_MAX_SCALES} trained scales"
        )
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
        if not _is_plain(tensor):
            raise CheckpointError(
                f"{name} is not a plain tensor (but sparse, quantised, complex or"
                " without values of its own); expected one"
            )
        if tensor.shape != shape:
            raise CheckpointError(
                f"{name} has the shape {tuple(tensor.shape)}; expected {tuple(shape)}"
            )
        if not tensor.is_floating_point():
            raise CheckpointError(f"{name} is {tensor.dtype}; expected floating point")
        value = tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
        _check_finite(name, value)
        checked[name] = value
    return checked


def _check_finite(name: str, value: Tensor) -> None:
    if not value.isfinite().all():
        raise CheckpointError(
            f"{name} holds NaN or infinite values; the training went wrong or the file"
            " is damaged, use another checkpoint"
        )


def _agrees(stored: object, fused: Tensor) -> bool:
    return (
        _is_plain(stored)
        and stored.shape == fused.shape
        and torch.allclose(
            stored.float().cpu(), fused, rtol=1e-3, atol=1e-3 * float(fused.abs().max())
        )
    )
