"""Node schemas on every ComfyUI generation: newer features where the host has them.

The only module that asks which generation is running. Older hosts know neither
`DynamicCombo` nor ``advanced`` nor ``search_aliases``; what they lack is left out or
replaced by plain widgets with the same ids, so a prompt means the same on each.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from comfy_api.latest import io

CATEGORY = "image/upscaling"
"""Where ComfyUI lists its own upscaling nodes."""

HAS_DYNAMIC_COMBO = hasattr(io, "DynamicCombo")

ADVANCED: dict[str, Any] = (
    {"advanced": True}
    if "advanced" in inspect.signature(io.Int.Input.__init__).parameters
    else {}
)
"""Keyword arguments that put an input under "advanced", on hosts that know of it."""

_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}


def node_schema(**fields: Any) -> io.Schema:
    """Returns the schema of a node of this pack, without fields the host lacks."""
    fields.setdefault("category", CATEGORY)
    known = {name: value for name, value in fields.items() if name in _SCHEMA_FIELDS}
    return io.Schema(**known)


def factor_input(
    factor_id: str, *, tooltip: str, any_type: bool = True, **fields: Any
) -> io.Input:
    """Returns the input of a factor from 1 to 8, with four decimals.

    Args:
        factor_id: Its id.
        tooltip: What it is.
        any_type: Whether whole numbers and texts may be connected, and be in a prompt,
            which the host then does not check: a node needs `validate_inputs` for it.
        fields: What else the host takes.
    """
    number = io.Float.Input(
        factor_id,
        default=2.0,
        min=1.0,
        max=8.0,
        step=0.0001,  # the front end rounds to it; web/numbers.js makes larger steps
        tooltip=tooltip,
        **fields,
    )
    return io.MultiType.Input(number, types=[io.Int, io.String]) if any_type else number


def choice(
    choice_id: str, options: Mapping[str, Sequence[io.WidgetInput]], tooltip: str
) -> list[io.Input]:
    """Returns the inputs of a choice whose options each bring inputs of their own.

    Args:
        choice_id: Its nested inputs become ``choice_id.nested``.
        options: For each option the inputs it needs, in order.
        tooltip: What is chosen.
    """
    if HAS_DYNAMIC_COMBO:
        dynamic = [
            io.DynamicCombo.Option(key, list(inputs)) for key, inputs in options.items()
        ]
        return [io.DynamicCombo.Input(choice_id, options=dynamic, tooltip=tooltip)]
    combo = io.Combo.Input(choice_id, options=list(options), tooltip=tooltip)
    flat: dict[str, io.WidgetInput] = {}
    users: dict[str, list[str]] = {}
    for key, inputs in options.items():
        for nested in inputs:
            flat.setdefault(nested.id, nested)
            users.setdefault(nested.id, []).append(f"'{key}'")
    for nested_id, nested in flat.items():
        nested.id = f"{choice_id}.{nested_id}"
        nested.tooltip = f"Used by {', '.join(users[nested_id])}. {nested.tooltip}"
        nested.optional = True
    return [combo, *flat.values()]


def chosen(
    choice_id: str,
    value: str | Mapping[str, Any] | None,
    flat: Mapping[str, Any],
    options: Mapping[str, Sequence[io.WidgetInput]],
) -> tuple[str, dict[str, Any]]:
    """Returns the option picked in a `choice` and the values of its nested inputs.

    Args:
        choice_id: What `choice` was given.
        value: What the host passed for it: a mapping from a dynamic combo, a string
            from a plain one, and None for an option that it does not know.
        flat: The remaining arguments of ``execute``, where older hosts pass nested
            values.
        options: What `choice` was given; a nested value left out takes its default.

    Raises:
        ValueError: There is no such option.
    """
    if value is None or isinstance(value, str):
        option = value or ""
        given = {
            name.removeprefix(f"{choice_id}."): each for name, each in flat.items()
        }
    else:
        option, given = str(value[choice_id]), dict(value)
    one_of(choice_id, option, options)
    nested = {each.id: given.get(each.id, each.default) for each in options[option]}
    return option, nested


def one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    """Checks the value of a combo, which servers do not do for every prompt.

    Raises:
        ValueError: It is none of the allowed ones.
    """
    if value not in (names := list(allowed)):
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(names)}")
