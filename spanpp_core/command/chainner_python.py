"""chaiNNer's Python: found, looked at, and given the SpanPP nodes.

chaiNNer has no plug-in mechanism, but it runs on a Python of its own. What is installed
there is one pip distribution: the core, the nodes, and a ``.pth`` file whose only line
starts the import hook. Nothing else is installed, upgraded or removed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import SpanPPError
from .chainner_wheel import DISTRIBUTION, build_wheel

REQUIRED = {
    "torch": (2, 1),
    "spandrel": (0, 4, 1),
    "safetensors": (0, 4),
    "numpy": (1, 24),
}
"""What the core imports and since when; chaiNNer's dependency manager brings it all."""

DAMAGED = ", but files of it are missing: install it again"
"""What is added to a version whose files are not all there."""

PROBE = f"""
import json, sys
from importlib.metadata import distributions
names = {(*REQUIRED, "spanpp", DISTRIBUTION)!r}
found = {{}}
for d in distributions():
    name = (d.metadata["Name"] or "").lower().replace("_", "-")
    if name in names:
        found[name] = d.version
    if name == {DISTRIBUTION!r} and not all(f.locate().is_file() for f in d.files or ()):
        found[name] += {DAMAGED!r}
print(json.dumps({{"python": list(sys.version_info[:3]), "versions": found}}))
"""


class ChainnerError(SpanPPError):
    """Something stands in the way; the message says what, and what to do."""


@dataclass(frozen=True)
class PythonInstallation:
    """chaiNNer's Python."""

    python: Path
    release: tuple[int, ...]
    versions: dict[str, str]
    """Version of each distribution that matters here, of those installed."""

    @property
    def installed(self) -> str | None:
        """The version of our nodes, if they are installed."""
        return self.versions.get(DISTRIBUTION)


def find_python(app: Path | None) -> Path:
    """Returns the Python that chaiNNer runs its backend on.

    Args:
        app: The folder of a portable chaiNNer, or of its data; the usual folders of
            this system when None.

    Raises:
        ChainnerError: No Python was found; the message lists where it was looked for.
    """
    candidates = list(_pythons_of(app or _data_folder()))
    for python in candidates:
        if python.is_file():
            return python
    places = ", ".join(map(str, candidates))
    raise ChainnerError(
        f"chaiNNer's Python was not found (looked at {places}): start chaiNNer once so"
        " that it sets up its Python, or name it with --python"
    )


def _data_folder() -> Path:
    """Returns the folder in which an installed chaiNNer keeps its data."""
    home = Path.home()
    if sys.platform == "win32":
        data = os.environ.get("APPDATA") or home / "AppData" / "Roaming"
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = os.environ.get("XDG_CONFIG_HOME") or home / ".config"
    return Path(data) / "chaiNNer"


def _pythons_of(folder: Path) -> Iterator[Path]:
    """Yields the Pythons a chaiNNer with this data folder may use, likeliest first."""
    try:
        settings = json.loads((folder / "settings.json").read_text("utf-8"))
        if settings["useSystemPython"]:
            # as chaiNNer: the one that is named, or else what PATH has, if it starts
            for name in (settings.get("systemPythonLocation"), "python3", "python"):
                found = shutil.which(name) if name else None
                if found and _starts(Path(found)):
                    yield Path(found)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no settings yet, or none that choose a Python: the built-in one it is
    builtin = folder / "python" / "python"
    yield builtin / "python.exe"
    yield builtin / "bin" / "python3.11"


def inspect(python: Path) -> PythonInstallation:
    """Asks a Python for its version and for the packages that matter here.

    Raises:
        ChainnerError: It is no Python, or cannot be started.
    """
    try:
        found = json.loads(_run(python, "-I", "-c", PROBE).stdout)
        return PythonInstallation(python, tuple(found["python"]), found["versions"])
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ChainnerError):
            raise
        raise ChainnerError(f"{python} does not answer as Python does") from error


def check(installation: PythonInstallation) -> None:
    """Makes sure that SpanPP can run on chaiNNer's Python.

    Raises:
        ChainnerError: A package is missing or too old, or SpanPP came another way.
    """
    if installation.release < (3, 10):
        release = ".".join(map(str, installation.release))
        raise ChainnerError(
            f"{installation.python} is Python {release}; SpanPP needs 3.10 or newer"
        )
    for name, least in REQUIRED.items():
        found = installation.versions.get(name)
        if found is None or _numbers(found) < least:
            raise ChainnerError(
                f"{name} {found or 'not found'} in chaiNNer's Python ({installation.python});"
                f" SpanPP needs {'.'.join(map(str, least))} or newer: install or update"
                " PyTorch in chaiNNer's dependency manager, then run this again"
            )
    if "spanpp" in installation.versions:
        own = ""
        if _is_this(installation.python):
            own = (
                "install this command into a Python of its own (python -m venv, or pipx) and"
                " run it from there, and "
            )
        raise ChainnerError(
            f"the command-line package spanpp is in chaiNNer's Python, where it would take"
            f" the place of the nodes' own files: {own}remove it"
            f' there ("{installation.python}" -m pip uninstall spanpp)'
        )


def install(installation: PythonInstallation) -> None:
    """Installs the core, the nodes and the hook; nothing else changes.

    Raises:
        ChainnerError: pip failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        build_wheel(Path(folder))
        _pip(
            installation,
            *("install", "--no-deps", "--no-index", "--force-reinstall"),
            *("--find-links", folder, DISTRIBUTION),
        )


def uninstall(installation: PythonInstallation) -> None:
    """Removes what `install` put, and only that.

    Raises:
        ChainnerError: pip failed.
    """
    _pip(installation, "uninstall", "--yes", DISTRIBUTION)


def _starts(python: Path) -> bool:
    """Whether a program is a Python that chaiNNer takes: 3.10 or newer.

    On Windows ``python3`` may be a link to the Microsoft Store, which only says so.
    """
    try:
        said = _run(python, "--version").stdout
    except ChainnerError:
        return False
    return _numbers(said.removeprefix("Python ")) >= (3, 10)


def _is_this(python: Path) -> bool:
    """Whether a Python is the one that runs this command."""
    return python.exists() and python.samefile(sys.executable)


def _numbers(release: str) -> tuple[int, ...]:
    """The numbers a version starts with: (2, 7, 0) for "2.7.0+cu128"."""
    found = re.match(r"\d+(\.\d+)*", release)
    return tuple(map(int, found.group().split("."))) if found else ()


def _pip(installation: PythonInstallation, *arguments: str) -> None:
    options = ("--isolated", "--disable-pip-version-check", "--no-input")
    done = _run(installation.python, "-I", "-m", "pip", *options, *arguments)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        errors = [line for line in said if line.lower().startswith("error")]
        reason = " ".join(errors or said[-1:])
        raise ChainnerError(f"pip failed in {installation.python}: {reason}")


def _run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - the Python the user named or chaiNNer's
            [str(python), *arguments], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ChainnerError(f"{python} cannot be started: {error.strerror}") from error
