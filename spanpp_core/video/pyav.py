"""PyAV, which only video needs: found when it is used, named when it is missing."""

from __future__ import annotations

import importlib
from typing import Any


class VideoError(ValueError):
    """A video that can not be read or written, in one line."""


def pyav() -> Any:
    """Returns the module ``av``.

    Raises:
        VideoError: It is not installed.
    """
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise VideoError(
            "av is not installed, which videos need; run: pip install 'spanpp[video]'"
        ) from error


def reason(error: Exception) -> str:
    """Returns what FFmpeg says, without number and file name."""
    said = getattr(error, "strerror", None) or str(error)
    return next(iter(str(said).splitlines()), "") or type(error).__name__
