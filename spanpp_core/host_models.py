"""Models from a host: loaded by another copy of this package, or cast by another node."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from .backends import BACKENDS
from .checkpoint import Checkpoint, parse
from .descriptor import SpanPPArch, SpanPPDescriptor

ARCHITECTURE = "SpanPP"
"""The id of the architecture in spandrel, in every copy of this package."""

_BODY = "block_1.c1_r.conv_3x3_rep.weight"
"""A weight whose dtype and device are those that a model was cast and moved to."""


def as_spanpp(model: object) -> SpanPPDescriptor:
    """Returns a model as a descriptor of this package, whichever copy of it loaded it.

    Two packs in one host may each bring a copy, and spandrel keeps the architecture that
    was registered first. The classes of the copies differ; the weights do not.

    Args:
        model: A spandrel descriptor. One of this package is returned as it is.

    Returns:
        A descriptor at the scale, device and dtype of ``model``, with the attributes
        that the program attached to it. It shares the weights of ``model`` where these
        are laid out as here, so that moving one moves the other, and copies them
        otherwise.

    Raises:
        TypeError: It is another network; the message names it.
        CheckpointError: It claims to be SpanPP, but its weights are not those of a SpanPP
            model.
    """
    if isinstance(model, SpanPPDescriptor):
        return model
    architecture = getattr(model, "architecture", None)
    if getattr(architecture, "id", None) != ARCHITECTURE:
        name = getattr(architecture, "name", None)
        found = f"another network, {name}" if name else type(model).__name__
        raise TypeError(f"found {found}; expected a SpanPP model")
    network = cast("nn.Module", model.model)  # pyright: ignore[reportAttributeAccessIssue]
    weights = cast("dict[str, Tensor]", network.state_dict(keep_vars=True))
    read = getattr(getattr(model, "checkpoint", None), "state_dict", weights)
    found = parse(cast("Mapping[str, Any]", read))
    continuous = getattr(model, "continuous", False) is True
    repair = float(getattr(model, "repair", 0))
    found = replace(found, continuous=continuous, repair=repair)
    ours = SpanPPDescriptor(SpanPPArch(), found)
    live = parse(weights)
    ours.model.load_state_dict(live.state_dict)
    body = weights[_BODY]
    ours.to(body.device, body.dtype)
    shared = _same_layout(ours.model.state_dict(), weights)
    if shared:
        ours.model.load_state_dict(weights, assign=True)
    view = ours.at_scale(float(getattr(model, "scale", ours.scale)))
    for name, value in vars(model).items():
        wraps_the_other = getattr(value, "model", None) is network
        if name not in vars(view) and (shared or not wraps_the_other):
            setattr(view, name, value)
    backend = getattr(model, "backend", view.backend)
    return view.with_backend(backend) if backend in BACKENDS else view


def file_weights(model: SpanPPDescriptor) -> Checkpoint:
    """Returns the weights to save or export: those of the file, in float32.

    A node may cast a model that it shares with other nodes, which rounds the weights. If
    the live weights equal those of the file but for such rounding, the file's are
    returned. If they were changed in any other way, such as a merge, the live ones are.

    Raises:
        CheckpointError: The live weights were changed into something that is no whole
            model, such as NaN.
    """
    live = model.model.state_dict()
    stored = model.checkpoint.state_dict
    if all(_is_rounding(live[name], tensor) for name, tensor in stored.items()):
        return model.checkpoint
    return replace(parse(live), continuous=model.continuous, repair=model.repair)


def _same_layout(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    """Whether two state dicts have the same names, shapes, dtypes and devices."""

    def layout(tensors: Mapping[str, Tensor]) -> dict[str, object]:
        return {k: (t.shape, t.dtype, t.device) for k, t in tensors.items()}

    return layout(ours) == layout(theirs)


def _is_rounding(live: Tensor, stored: Tensor) -> bool:
    """Whether casts alone, from float32 to any other dtypes and back, explain a tensor."""
    if not stored.is_floating_point():
        return torch.equal(live.cpu(), stored)
    seen = live.detach().to("cpu", torch.float32)
    halves = (torch.float16, torch.bfloat16)
    for casts in (
        (),
        *itertools.permutations(halves, 1),
        *itertools.permutations(halves),
    ):
        rounded = stored
        for dtype in casts:
            rounded = rounded.to(dtype)
        if torch.equal(seen, rounded.float()):
            return True
    return False
