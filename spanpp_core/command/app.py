"""The sub-commands together, and what happens when one fails."""

from __future__ import annotations

import sys

import typer
from typer.exceptions import TyperException

from . import chainner
from .convert import convert
from .demo import demo
from .doctor import doctor
from .export import export
from .info import info
from .train import train
from .upscale import upscale

app = typer.Typer(
    name="spanpp",
    help="Super-resolution at any scale, picked at run time.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (upscale, demo, info, convert, export, train, doctor):
    app.command()(command)
app.add_typer(chainner.app, name="chainner")


def run(arguments: list[str]) -> int:
    """Runs the command line and returns its exit status.

    0: all done. 1: some files failed and were reported. 2: nothing could be done, for
    the reason printed, in one line.
    """
    try:
        return app(_with_address(arguments or ["--help"]), standalone_mode=False) or 0
    except TyperException as error:
        return _fail(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        return _fail("stopped", status=130)
    except (ValueError, ArithmeticError, MemoryError, OSError, RuntimeError) as error:
        return _fail(str(error))


def _with_address(arguments: list[str]) -> list[str]:
    """Lets ``--ray`` stand alone: typer has no options whose value may be left out."""
    after = [*arguments[1:], "-"]
    return [
        "--ray=" if each == "--ray" and following.startswith("-") else each
        for each, following in zip(arguments, after)
    ]


def _fail(message: str, status: int = 2) -> int:
    print("spanpp:", " ".join(message.split()), file=sys.stderr)
    return status
