"""Copies what training needs of `spanpp_core` into the folder for traiNNer-redux.

Run it after a change in the core: ``python upstream/copy_core.py``. The files are the
core's, byte for byte: those that `ROOTS` import, and those that these import.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "spanpp_core"
COPY = ROOT / "traiNNer" / "spanpp_core"

ROOTS = (
    "checkpoint/__init__.py",
    "export/frozen.py",
    "network/branches.py",
    "resize.py",
)
"""What traiNNer/ imports of the copy."""

STAND_IN = '''\
"""A copy of a part of SpanPP's package, made by upstream/copy_core.py: do not edit."""
'''
"""What a package holds whose own imports are not copied."""


def copied() -> dict[str, bytes]:
    """Returns the content of every file of the copy, by its path within it."""
    found: set[Path] = set()
    waiting = [CORE / name for name in ROOTS]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += imported(file)
    packages = {folder for file in found for folder in file.parents if _in_core(folder)}
    content = {folder / "__init__.py": STAND_IN.encode() for folder in packages}
    content |= {file: file.read_bytes() for file in found}
    return {str(file.relative_to(CORE)): data for file, data in content.items()}


def imported(file: Path) -> Iterator[Path]:
    """Yields the files of the core that a file of it imports, all relatively."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = file.parents[node.level - 1]
        module = base.joinpath(*(node.module or "").split("."))
        if module.is_dir():
            names = [module / f"{alias.name}.py" for alias in node.names]
            files = [name for name in names if name.is_file()]
            yield from files
            if len(files) < len(names):
                yield module / "__init__.py"
        else:
            yield module.with_suffix(".py")


def _in_core(folder: Path) -> bool:
    return folder == CORE or CORE in folder.parents


def main() -> None:
    """Writes the copy anew."""
    shutil.rmtree(COPY, ignore_errors=True)
    for name, content in copied().items():
        file = COPY / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


if __name__ == "__main__":
    main()
