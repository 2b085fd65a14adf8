"""Files that appear whole or not at all: written aside, then renamed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """Yields a temporary path beside ``path``, which replaces it at the end.

    If the block raises, what was written is removed and ``path`` stays as it was. The
    temporary name has the suffix of ``path``, because some writers choose the format by
    it, and is unique: several machines may write into one folder::

        with replacing(Path("notes.txt")) as aside:
            aside.write_text("whole")
    """
    aside = path.with_name(f".{uuid4().hex}.partial{path.suffix}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    with replacing(path) as aside:
        aside.write_bytes(content)
