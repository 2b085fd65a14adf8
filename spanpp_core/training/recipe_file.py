"""A recipe as a TOML file, whose keys are the fields of `Recipe`.

What it leaves out has the value there, and what the command line says goes before it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ..errors import TrainingError, first_line
from ..optional import require
from .recipe import Recipe

_LISTS = ("scales", "shares")
"""Settings of several values."""


def read_recipe(path: Path | None, given: Mapping[str, Any]) -> Recipe:
    """Reads a recipe.

    Args:
        path: The file; None for a recipe of what is ``given`` alone.
        given: Settings by their names, which go before those of the file.

    Raises:
        OSError: The file cannot be read.
        TrainingError: It is not TOML, or has a key or a value of another kind
            than the fields of `Recipe`.
    """
    found = {} if path is None else _toml(path)
    for key, value in found.items():
        _check_kind(f"{path}: {key}", key, value)
    made = {**found, **given}
    made |= {key: tuple(made[key]) for key in _LISTS if key in made}
    scales, shares = made.get("scales", ()), made.get("shares", ())
    if len(scales) == len(shares):  # each share follows its scale
        made |= {"shares": tuple(s for _, s in sorted(zip(scales, shares)))}
    if scales:
        made["scales"] = tuple(sorted(scales))
    return Recipe(**made)


def _check_kind(where: str, key: str, value: object) -> None:
    """Checks that a file has a value of a setting's kind; ``where`` begins the error."""
    some = {
        "continuous": False,
        "weights": "",
        "last_loss": "mse",
        "learning_rate": 0.1,
        "shares": (1.0, 2.0, 2.0, 2.0),
    }
    example = asdict(Recipe()) | some  # None and () tell no kind
    if key not in example:
        known = ", ".join(each.name for each in fields(Recipe))
        raise TrainingError(f"{where} is no setting; they are {known}")
    wanted = example[key]
    fits = isinstance(value, list if key in _LISTS else type(wanted))
    whole_for_real = isinstance(wanted, float) and type(value) is int
    if not (fits or whole_for_real) or (
        isinstance(value, bool) and not isinstance(wanted, bool)
    ):
        raise TrainingError(f"{where} is {value!r}; give something like {wanted!r}")


def _toml(path: Path) -> dict[str, Any]:
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    loads = require("Reading a recipe", "train", name).loads
    try:
        return loads(path.read_text("utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path}: {first_line(error)}") from error
