"""The command line: its sub-commands, and how their errors are shown."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Annotated

import typer
from typer.exceptions import TyperException

from .. import __version__
from ..errors import SpanPPError, first_line
from . import chainner
from .demo import demo
from .doctor import doctor
from .export import export
from .info import info
from .train import train
from .upscale import upscale

DEBUG = "--debug"

app = typer.Typer(
    name="spanpp",
    help="Super-resolution at any scale, chosen at run time.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for command in (upscale, demo, info, export, train, doctor):
    app.command()(command)
app.add_typer(chainner.app, name="chainner")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"spanpp {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(DEBUG, help="Show the traceback of an error, for a bug report."),
    ] = False,
) -> None:
    """Super-resolution at any scale, chosen at run time."""
    if debug:
        logging.basicConfig(format="%(name)s: %(message)s")
        logging.getLogger("spanpp").setLevel(logging.DEBUG)


def run(arguments: list[str]) -> int:
    """Runs the command line and returns its exit status.

    0: all done. 1: some files failed and were reported. 2: nothing could be done, for
    the reason printed, in one line.
    """
    debug = DEBUG in arguments
    given = [each for each in arguments if each != DEBUG] or ["--help"]
    given = [DEBUG] * debug + _with_address(given)
    try:
        return app(given, standalone_mode=False) or 0
    except TyperException as error:
        return _fail(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        return _fail("stopped", status=130)
    except (SpanPPError, MemoryError) as error:
        return _fail(str(error) or first_line(error), debug=debug)
    except OSError as error:
        return _fail(first_line(error), debug=debug)
    except Exception as error:  # a bug: no traceback unless it is asked for
        line = f"{first_line(error)} ({type(error).__name__})"
        return _fail(f"{line}; {DEBUG} shows the traceback", debug=debug)


def _with_address(arguments: list[str]) -> list[str]:
    """Lets ``--ray`` stand alone: typer has no options whose value may be left out."""
    after = [*arguments[1:], "-"]
    return [
        "--ray=" if each == "--ray" and following.startswith("-") else each
        for each, following in zip(arguments, after)
    ]


def _fail(message: str, status: int = 2, *, debug: bool = False) -> int:
    if debug:
        traceback.print_exc()
    print("spanpp:", " ".join(message.split()), file=sys.stderr)
    return status
