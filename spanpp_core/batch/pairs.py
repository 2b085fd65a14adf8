"""Every file to upscale beside the file that it becomes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..images import READABLE as IMAGES
from ..video import READABLE as VIDEOS
from ..video import WRITABLE
from . import stores


@dataclass(frozen=True)
class Pair:
    """One file to read and the file to write."""

    source: Path
    result: Path

    def check(self) -> None:
        """Raises ValueError if the file would replace itself."""
        if self.result.exists() and self.result.samefile(self.source):
            raise ValueError(
                f"{self.source} would replace itself; choose another folder"
            )


def is_video(path: PurePosixPath | Path) -> bool:
    """Whether a file is taken for a video, by its ending."""
    return path.suffix.lower() in VIDEOS


def pairs(inputs: Sequence[str], out: str) -> list[tuple[str, str]]:
    """Pairs every input with its result; folders and prefixes keep their structure.

    Args:
        inputs: Files and folders, as paths or as URLs of a store.
        out: A folder, or for a single file its name; likewise.

    Raises:
        ValueError: Two inputs would write the same file, or there is nothing to do.
        StoreError: A store cannot be read.
    """
    ending = PurePosixPath(stores.name(out) if stores.is_url(out) else out).suffix
    if ending.lower() in (*IMAGES, *WRITABLE) and not _is_folder(out):
        if len(inputs) == 1 and not _is_folder(inputs[0]):
            return [(inputs[0], out)]
        raise ValueError(f"--out {out} is one file; give a folder for several files")
    if not stores.is_url(out) and Path(out).exists() and not Path(out).is_dir():
        raise ValueError(f"--out {out} is a file; give a folder, or a file's name")
    taken: dict[str, str] = {}
    for given in dict.fromkeys(inputs):
        files = (
            _in_store(given, out) if stores.is_url(given) else _in_folder(given, out)
        )
        for source, name in files:
            result = _below(out, _result_name(name))
            if taken.setdefault(result, source) != source:
                raise ValueError(
                    f"{source} and {taken[result]} would both be written to {result};"
                    " upscale them into two folders"
                )
    if not taken:
        raise ValueError(f"no images or videos in {', '.join(inputs)}")
    return [(source, result) for result, source in taken.items()]


def _in_folder(given: str, out: str) -> Iterator[tuple[str, PurePosixPath]]:
    """Yields images and videos, and their names below the folder to write to."""
    folder = Path(given)
    if not folder.is_dir():
        yield str(folder), PurePosixPath(folder.name)
        return
    written = os.path.realpath(out)  # unlike Path.resolve, it survives circular links
    apart = written != os.path.realpath(folder)
    for path in sorted(folder.rglob("*")):
        name = PurePosixPath(path.relative_to(folder).as_posix())
        inside = apart and Path(written) in Path(os.path.realpath(path)).parents
        if _is_wanted(name) and not path.is_dir() and not inside:
            yield str(path), name


def _in_store(given: str, out: str) -> Iterator[tuple[str, PurePosixPath]]:
    """Yields what `_in_folder` does, as URLs."""
    if not _is_folder(given):
        yield given, PurePosixPath(stores.name(given))
        return
    written = stores.joined(out, "") if stores.is_url(out) else ""
    apart = written != stores.joined(given, "")
    for name in stores.files_below(given):
        url = stores.joined(given, name)
        inside = apart and bool(written) and url.startswith(written)
        if _is_wanted(PurePosixPath(name)) and not inside:
            yield url, PurePosixPath(name)


def _is_wanted(name: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") for part in name.parts)
    return not hidden and (name.suffix.lower() in IMAGES or is_video(name))


def _is_folder(given: str) -> bool:
    return stores.is_folder(given) if stores.is_url(given) else Path(given).is_dir()


def _below(out: str, name: PurePosixPath) -> str:
    if stores.is_url(out):
        return stores.joined(out, str(name))
    return str(Path(out) / name)


def _result_name(name: PurePosixPath) -> PurePosixPath:
    """The name to write under: videos of a kind that is not written become .mkv."""
    if is_video(name) and name.suffix.lower() not in WRITABLE:
        return name.with_suffix(".mkv")
    return name
