"""Optional packages: imported where they are needed, named when they are missing."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pkgutil import resolve_name
from types import ModuleType

from .errors import MissingPackageError


def missing(modules: Iterable[str]) -> list[str]:
    """Returns those of some import names that are not installed."""
    return [name for name in modules if not _is_installed(name)]


def require(purpose: str, extra: str, module: str, *others: str) -> ModuleType:
    """Imports an optional package.

    Args:
        purpose: What needs it, as the beginning of a sentence: "Reading videos".
        extra: The optional dependency of this project that installs it.
        module: Its import name.
        others: Import names of what is needed beside it.

    Returns:
        The module ``module``.

    Raises:
        MissingPackageError: It or another is not installed, or cannot be imported here;
            the message names everything that is missing.
    """
    names = missing([module.partition(".")[0], *others])
    if names:
        raise MissingPackageError(
            f"{purpose} needs {' and '.join(names)}, not installed here; install"
            f" 'spanpp[{extra}]', or in the Python of a host: {' '.join(names)}"
        )
    try:
        return resolve_name(module)
    except (ImportError, AttributeError) as error:
        raise MissingPackageError(
            f"{purpose} needs {module}, which cannot be imported here ({error})"
        ) from error


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # imported, by something that gave it no specification
        return True
