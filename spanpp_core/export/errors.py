"""What can go wrong on the way to a file."""

from __future__ import annotations

import importlib
from types import ModuleType


class ExportError(ValueError):
    """A file that can not be made as asked, or was made and found wrong.

    The message is one line: what was asked, what was expected, what to do.
    """


def required(module: str, extra: str) -> ModuleType:
    """Imports a package that only exports need.

    Args:
        module: Its import name.
        extra: The optional dependency of this project that installs it.

    Raises:
        ExportError: It is not installed, or does not work here.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ExportError(
            f"the package {module} is missing ({error}): pip install"
            f" 'spanpp[{extra}]', or in a host's Python: pip install {module}"
        ) from error
