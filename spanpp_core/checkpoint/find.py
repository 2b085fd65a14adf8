"""Finding SpanPP in a dict: through wrappers and prefixes, or saying what it is."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from spandrel import MAIN_REGISTRY, canonicalize_state_dict
from torch import Tensor

SIGNATURE = "upsampler.freq"
"""The tensor by whose name a SpanPP state dict is found, whatever wraps it."""

_AVERAGED = re.compile(r"(^|[._-])ema")
"""Of several networks in one file, the one with averaged weights is meant."""


def find(state_dict: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the SpanPP tensors within a state dict under their own names.

    Looks through wrappers (``params_ema``, ``state_dict``, ...) and drops any prefix
    (``module.``, ``net_g.``, ...). None if there is no SpanPP in it.
    """
    for candidate in _nested(state_dict):
        prefixes = [
            key[: -len(SIGNATURE)]
            for key in candidate
            if key == SIGNATURE or key.endswith("." + SIGNATURE)
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
    return found is not None and not is_spanc(found)


def is_spanc(tensors: Mapping[str, Any]) -> bool:
    """Whether tensors are those of neosr's SpanC, which resembles SpanPP."""
    return "upsampler.coord_map" in tensors or any(
        key.startswith("block_1.conv_a.") for key in tensors
    )


def what_it_is(content: Mapping[str, Any]) -> str:
    """Names the network of a state dict for an error message, if spandrel knows it."""
    tensors = [
        {name: value for name, value in nested.items() if isinstance(value, Tensor)}
        for nested in _nested(content)
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
                return f"another network, {support.architecture.name}"
    return "a network that is not known here"


def _nested(
    content: object, depth: int = 3, seen: set[int] | None = None
) -> Iterator[dict[str, Any]]:
    """Yields the state dicts within a dict, averaged weights first, and then itself.

    Each once: a small file can hold the same dict in many places.
    """
    seen = set() if seen is None else seen
    if not isinstance(content, Mapping) or depth < 0 or id(content) in seen:  # pyright: ignore
        return
    seen.add(id(content))  # pyright: ignore
    named = {
        k: v
        for k, v in cast("Mapping[Any, Any]", content).items()
        if isinstance(k, str)
    }
    for name in sorted(named, key=lambda name: not _AVERAGED.search(name)):
        yield from _nested(named[name], depth - 1, seen)
    yield named
