"""``spanpp chainner``: put the SpanPP nodes into chaiNNer, look, and take them out."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..descriptor import bundled_model
from .chainner_python import (
    REQUIRED,
    check,
    find_python,
    inspect,
    install,
    uninstall,
)
from .chainner_wheel import DISTRIBUTION, wheel_files

app = typer.Typer(help="Put the SpanPP nodes into chaiNNer, or take them out.")

Python = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it at run time
    typer.Option("--python", help="chaiNNer's Python, if it is not found."),
]
App = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--path", help="The folder of a portable chaiNNer."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and stop.")
]


@app.command("install")
def install_command(
    python: Python = None, path: App = None, dry_run: DryRun = False
) -> None:
    """Install the SpanPP nodes into chaiNNer's Python."""
    installation = inspect(python or find_python(path))
    check(installation)
    size = sum(len(data) for data in wheel_files().values()) / 2**20
    print(f"chaiNNer's Python: {installation.python}")
    for name in REQUIRED:
        print(f"  {name} {installation.versions[name]} stays as it is")
    if dry_run:
        print(f"would install {DISTRIBUTION} {version('spanpp')} ({size:.1f} MiB)")
        return
    install(installation)
    print(f"installed {DISTRIBUTION} {version('spanpp')} ({size:.1f} MiB)")
    print("restart chaiNNer: the nodes are under PyTorch, with SpanPP in their names")
    print(f"Load SpanPP asks for a file; the bundled model is {bundled_model()}")


@app.command("status")
def status_command(python: Python = None, path: App = None) -> None:
    """Show whether the SpanPP nodes are in chaiNNer's Python."""
    installation = inspect(python or find_python(path))
    print(f"chaiNNer's Python: {installation.python}")
    for name in (*REQUIRED, DISTRIBUTION):
        print(f"  {name} {installation.versions.get(name, 'not installed')}")


@app.command("uninstall")
def uninstall_command(
    python: Python = None, path: App = None, dry_run: DryRun = False
) -> None:
    """Remove the SpanPP nodes from chaiNNer's Python."""
    installation = inspect(python or find_python(path))
    print(f"chaiNNer's Python: {installation.python}")
    if installation.installed is None:
        print(f"{DISTRIBUTION} is not installed; nothing to do")
    elif dry_run:
        print(f"would remove {DISTRIBUTION} {installation.installed}")
    else:
        uninstall(installation)
        print(f"removed {DISTRIBUTION} {installation.installed}")
