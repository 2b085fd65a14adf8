"""Folders that nodes may read: ComfyUI's input and output folder and what is in them."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path

import folder_paths

from .compatibility import one_of

MOST_LISTED = 1000
"""
Folders of the input folder, and of the output folder, that are offered: those nearest to
the top. ComfyUI asks for the list whenever a page is loaded and several times for a run.
"""

_SETTLED = 2 * 10**9
"""
Nanoseconds after which the content of a folder is remembered: some file systems do not
tell apart two changes that are nearer.
"""

_known: dict[str, tuple[int, list[str]]] = {}
"""By folder: when it was last changed (nanoseconds), and the names of those in it."""


def listed_folders() -> list[str]:
    """Returns the folders to choose from: 'input', 'input/photos', ..., 'output', ...

    A folder that has not changed since the last call is not read again.
    """
    names: list[str] = []
    for name, root in _roots().items():
        waiting = deque([(name, str(root))])
        found: list[str] = []
        while waiting and len(found) < MOST_LISTED:
            below, folder = waiting.popleft()
            found.append(below)
            waiting.extend((f"{below}/{n}", f"{folder}/{n}") for n in _within(folder))
        names += sorted(found, key=lambda each: each.split("/"))
    return names


def allowed_folder(name: str) -> Path:
    """Returns the folder that an entry stands for, resolved; it need not be listed.

    Raises:
        ValueError: It leads out of ComfyUI's folders, or there is no such folder.
    """
    root, _, below = name.partition("/")
    one_of("folder", root, _roots())
    folder = resolved(_roots()[root] / below)
    if not is_allowed(folder):
        raise ValueError(f"{name!r} leads out of ComfyUI's input and output folders")
    if not folder.is_dir():
        raise ValueError(f"there is no folder {name!r}; refresh (R) and choose again")
    return folder


def is_allowed(path: Path) -> bool:
    """Whether a resolved path is one of ComfyUI's two folders, or in one of them."""
    return any(root in (path, *path.parents) for root in _roots().values())


def is_in_output(path: Path) -> bool:
    """Whether a resolved path is in ComfyUI's output folder."""
    return _roots()["output"] in path.parents


def resolved(path: Path) -> Path:
    """Returns where a path leads; unlike `Path.resolve`, also of links in a circle."""
    return Path(os.path.realpath(path))


def _roots() -> dict[str, Path]:
    """The folders whose content nodes may read, resolved."""
    return {
        "input": resolved(Path(folder_paths.get_input_directory())),
        "output": resolved(Path(folder_paths.get_output_directory())),
    }


def _within(folder: str) -> list[str]:
    """Returns the names of the folders in a folder, except hidden ones and links."""
    try:
        changed = os.stat(folder).st_mtime_ns  # noqa: PTH116
        if folder in _known and _known[folder][0] == changed:
            return _known[folder][1]
        with os.scandir(folder) as entries:
            names = sorted(
                each.name
                for each in entries
                if each.is_dir(follow_symlinks=False) and each.name[0] != "."
            )
    except OSError:  # removed meanwhile, or not ours to read
        return []
    if time.time_ns() - changed > _SETTLED:
        _known[folder] = changed, names
    return names
