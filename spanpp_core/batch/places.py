"""Where files are: paths of this machine and URLs of object stores, used alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True)
class Place:
    """A file or folder, given as a path or URL. Every method may raise `StoreError`."""

    given: str

    def __str__(self) -> str:
        return self.given

    @property
    def is_url(self) -> bool:
        """Whether it is a URL rather than a path."""
        return "://" in self.given

    @property
    def name(self) -> str:
        """Its last part."""
        return _stores().name(self.given) if self.is_url else Path(self.given).name

    def is_file(self) -> bool:
        """Whether there is a file."""
        return (
            _stores().exists(self.given) if self.is_url else Path(self.given).is_file()
        )

    def is_folder(self) -> bool:
        """Whether there is a folder, or a prefix with something below it."""
        if self.is_url:
            return _stores().is_folder(self.given)
        return Path(self.given).is_dir()

    def below(self, name: str) -> Place:
        """Returns the place of a file below this folder."""
        if self.is_url:
            return Place(_stores().joined(self.given, name))
        return Place(str(Path(self.given, name)))

    def files(self, besides: Place) -> Iterator[str]:
        """Yields the names of all files below, sorted, less those below another place."""
        if self.is_url:
            own, written = (_stores().folder(each.given) for each in (self, besides))
            for name in _stores().files_below(self.given):
                if written == own or not f"{own}{name}".startswith(written):
                    yield name
            return
        folder = Path(self.given)
        written, own = (os.path.realpath(each.given) for each in (besides, self))
        for path in sorted(folder.rglob("*")):
            inside = Path(written) in Path(os.path.realpath(path)).parents
            if not path.is_dir() and (written == own or not inside):
                yield path.relative_to(folder).as_posix()

    def from_anywhere(self) -> Place:
        """Returns it with an absolute path, for processes with another working folder."""
        return self if self.is_url else Place(str(Path(self.given).absolute()))

    def path(self, folder: Path) -> Path:
        """Returns a local path to work at: its own, or for a URL one in ``folder``."""
        return folder / self.name if self.is_url else Path(self.given)

    def fetched(self, folder: Path) -> Path:
        """Returns a local path to read; the file at a URL is copied there first."""
        path = self.path(folder)
        if self.is_url:
            folder.mkdir()
            _stores().fetch(self.given, path)
        return path

    def put(self, path: Path) -> None:
        """Uploads what was made at `path`, whole or not at all; does nothing for a path."""
        if self.is_url:
            _stores().put(path, self.given)


def _stores() -> ModuleType:
    """What reads and writes URLs: absent where there are paths only, as in ComfyUI."""
    from . import stores  # noqa: PLC0415

    return stores
