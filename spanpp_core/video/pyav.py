"""PyAV, which only video needs: found when it is used, named when it is missing."""

from __future__ import annotations

from typing import Any

from ..errors import first_line
from ..optional import require


def pyav() -> Any:
    """Returns the module ``av``.

    Raises:
        MissingPackageError: It is not installed.
    """
    return require("Reading and writing videos", "video", "av")


def reason(error: Exception) -> str:
    """Returns what FFmpeg says, without number and file name."""
    return getattr(error, "strerror", None) or first_line(error)
