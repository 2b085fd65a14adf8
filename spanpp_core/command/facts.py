"""Facts as people read them and bug reports quote them: one a line, of any length."""

from __future__ import annotations

from collections.abc import Mapping


def print_facts(facts: Mapping[str, object]) -> None:
    """Prints names and values in two columns; a line is never broken."""
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
