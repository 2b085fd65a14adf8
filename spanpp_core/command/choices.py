"""Options that are one of some words, of which several may have a second spelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import typer

NUMBER_FORMATS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""Short names, usual on command lines, and PyTorch's, which ComfyUI's nodes show."""


def one_of(
    words: Sequence[str], others: Mapping[str, str] | None = None
) -> Callable[[str], str]:
    """Returns what reads an option: one of the words as it is, or refused in one line.

    Args:
        words: What may be chosen.
        others: Second spellings of some of them.
    """
    others = others or {}
    meant = {word: word for word in words}
    meant |= {others[word]: word for word in words if word in others}
    choices = ", ".join(f"{w} or {others[w]}" if w in others else w for w in words)

    def read(given: str) -> str:
        if given not in meant:
            raise typer.BadParameter(f"{given!r} is not one of {choices}")
        return meant[given]

    return read


def precision_option(precision: Any, purpose: str, **more: Any) -> Any:
    """Returns the option for a number format, which takes both spellings.

    Args:
        precision: A Literal of short names.
        purpose: Its help, as sentences.
        more: As for `typer.Option`.
    """
    words = get_args(precision)
    names = [NUMBER_FORMATS[word] for word in words if word in NUMBER_FORMATS]
    return typer.Option(
        parser=one_of(words, NUMBER_FORMATS),
        metavar=f"<{'|'.join(words)}>",
        help=f"{purpose} PyTorch's names are taken too: {', '.join(names)}.",
        **more,
    )
