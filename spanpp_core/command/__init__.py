"""The command ``spanpp``: one file per sub-command, and no more than talks to a person.

`app` puts the sub-commands together: `upscale`, `demo`, `info`, `export`, `train`,
`doctor` and `chainner`, which puts the nodes (`chainner_wheel`) into chaiNNer's Python
(`chainner_python`).
"""

from __future__ import annotations

import glob
import importlib
import sys
from io import TextIOWrapper

from ..errors import MissingPackageError
from ..optional import require


def main() -> None:
    """Runs the command line; the entry point of the package."""
    try:
        require("The command", "cli", "typer", "rich", "PIL", "pyvips")
    except MissingPackageError as error:
        print(f"spanpp: {error}", file=sys.stderr)
        sys.exit(2)
    if isinstance(sys.stdout, TextIOWrapper):
        # Windows pipes hold few letters; others are written as numbers, as in errors
        sys.stdout.reconfigure(errors="backslashreplace")
    app = importlib.import_module(".app", __name__)
    given = sys.argv[1:]
    sys.exit(app.run(expanded(given) if sys.platform == "win32" else given))


def expanded(arguments: list[str]) -> list[str]:
    """Puts file names in the place of ``*`` and ``?``, as shells other than Windows' do.

    A pattern that matches nothing stays. Brackets stand for themselves: file names on
    Windows have them.
    """
    names: list[str] = []
    for each in arguments:
        is_pattern = "*" in each or "?" in each
        pattern = each.replace("[", "[[]")  # of any folder, which Path.glob is not
        found = sorted(glob.glob(pattern)) if is_pattern else []  # noqa: PTH207
        names += found or [each]
    return names
