"""What is said when a backend can not be used."""

from __future__ import annotations

import logging


def give_up(kind: str, error: Exception) -> None:
    """Logs in one line why a backend can not be used and what is done instead."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    message = "backend %s can not be used, running on PyTorch: %s"
    logging.getLogger("spanpp").warning(message, kind, reason)
