"""The command ``spanpp``: one file a sub-command, over the core."""

from __future__ import annotations

import importlib
import importlib.util
import sys


def main() -> None:
    """Runs the command line; the entry point of the package."""
    missing = [
        name
        for name in ("typer", "rich", "PIL", "pyvips")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        print(
            f"spanpp: {', '.join(missing)} not installed, which the command needs;"
            " run: pip install 'spanpp[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    app = importlib.import_module(".app", __name__)
    sys.exit(app.run(sys.argv[1:]))
