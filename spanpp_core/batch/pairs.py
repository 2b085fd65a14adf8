"""Input files, each paired with the file that its result is written to."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import BatchError
from ..images import IMAGE_SUFFIXES
from ..video import VIDEO_SUFFIXES, WRITABLE
from .places import Place


@dataclass(frozen=True)
class Pair:
    """One file to read and the file to write."""

    source: Path
    result: Path

    def check(self) -> None:
        """Raises BatchError if the file would replace itself, or a folder."""
        if self.result.is_dir():
            raise BatchError(
                f"{self.result} is a folder; choose another folder or name"
            )
        if self.result.exists() and self.result.samefile(self.source):
            raise BatchError(
                f"{self.source} would replace itself; choose another folder"
            )


def is_video(path: PurePosixPath | Path) -> bool:
    """Whether a file counts as a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def pairs(inputs: Sequence[str], out: str) -> list[tuple[str, str]]:
    """Pairs every input with its result; folders and prefixes keep their structure.

    Args:
        inputs: Files and folders, as paths or URLs.
        out: A folder, or the name of the result of a single file; likewise.

    Raises:
        BatchError: Two inputs would write the same file, no input has files, a name is
            empty or ``-``, or ``out`` is the name of an image or a video of a kind that cannot be
            written.
        StoreError: A store cannot be read.
    """
    if "" in (*inputs, out):
        raise BatchError("a name is empty; give files and folders by their names")
    if "-" in (*inputs, out):
        raise BatchError(
            "- is no file: pipes are neither read nor written; give a name, or ./- for a"
            " file called so"
        )
    to = Place(out)
    writes_a_file = PurePosixPath(to.name).suffix.lower() in (
        *IMAGE_SUFFIXES,
        *WRITABLE,
    )
    if writes_a_file and not to.is_folder():
        if len(inputs) == 1 and not Place(inputs[0]).is_folder():
            return [(inputs[0], out)]
        raise BatchError(f"{out} is the name of one file; give a folder to write to")
    if to.is_file():
        raise BatchError(f"{out} is a file; give a folder to write to, or a new name")
    kind, _ = mimetypes.guess_type(to.name)
    if kind and kind.startswith(("image/", "video/")) and not to.is_folder():
        raise BatchError(
            f"{out}: that kind of file cannot be written; give a folder, or a name that"
            f" ends in {', '.join((*IMAGE_SUFFIXES, *WRITABLE))}"
        )
    taken: dict[str, str] = {}
    for given in dict.fromkeys(inputs):
        for source, name in _files(Place(given), to):
            result = to.below(str(_result_name(name))).given
            if taken.setdefault(result, source) != source:
                raise BatchError(
                    f"{source} and {taken[result]} would both be written to {result};"
                    " upscale them into two folders"
                )
    if not taken:
        raise BatchError(f"no images or videos in {', '.join(inputs)}")
    return [(source, result) for result, source in taken.items()]


def _files(given: Place, to: Place) -> Iterator[tuple[str, PurePosixPath]]:
    """Yields a file, or the images and videos of a folder, and their names below it."""
    if not given.is_folder():
        yield str(given), PurePosixPath(given.name)
        return
    for name in map(PurePosixPath, given.files(besides=to)):
        if _is_wanted(name):
            yield given.below(str(name)).given, name


def _is_wanted(name: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") for part in name.parts)
    return not hidden and (name.suffix.lower() in IMAGE_SUFFIXES or is_video(name))


def _result_name(name: PurePosixPath) -> PurePosixPath:
    """The name of the result: videos in a container that cannot be written become .mkv."""
    if is_video(name) and name.suffix.lower() not in WRITABLE:
        return name.with_suffix(".mkv")
    return name
