"""The way into chaiNNer, which has no plug-in mechanism.

A line in a ``.pth`` file calls `install` each time chaiNNer's Python starts. Unless the
program is chaiNNer's server, nothing happens. In the server, the node registry is
asked to import our nodes just before it imports chaiNNer's own; whatever goes wrong is
one warning in the log, because an error would keep chaiNNer from starting at all.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

PYTORCH_PACKAGE = "packages.chaiNNer_pytorch"
"""The chaiNNer package our nodes belong to: its category, settings and dependencies."""

NODES = ("load_spanpp", "set_scale_spanpp", "upscale_spanpp")


def install() -> None:
    """Waits for chaiNNer's node registry if this program is chaiNNer's server."""
    program = Path(sys.argv[0] if getattr(sys, "argv", None) else "")
    package = program.parent.joinpath(*PYTORCH_PACKAGE.split("."))
    if program.name == "server.py" and package.is_dir():
        sys.meta_path.insert(0, _PyTorchPackageImport())


class _PyTorchPackageImport:
    """Finds no module: it is told when chaiNNer imports its PyTorch package."""

    def find_spec(self, fullname: str, path: object = None, target: object = None):
        if fullname == PYTORCH_PACKAGE:
            try:
                sys.meta_path.remove(self)
                _wrap(sys.modules["api"].registry)
            except Exception as error:
                _warn(error)


def _wrap(registry) -> None:
    load_nodes = registry.load_nodes

    def load_ours_too(*args, **kwargs):
        _load_nodes()
        return load_nodes(*args, **kwargs)

    registry.load_nodes = load_ours_too


def _load_nodes() -> None:
    try:
        for name in NODES:
            import_module("." + name, __package__)
    except (Exception, SystemExit) as error:
        _warn(error)


def _warn(error: BaseException) -> None:
    with suppress(Exception):
        server = sys.modules.get("__main__")
        logger = getattr(server, "logger", None) or logging.getLogger(__package__)
        logger.warning(
            "SpanPP's nodes are not available: %s: %s", type(error).__name__, error
        )
