"""Encoded segments of a video on disk: what a run that was stopped goes on from.

A segment holds the packets of a whole number of groups of pictures. It is written aside
and renamed, so one that is there is complete; the settings it was made with lie beside.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import VideoError
from .lock import lock

_HEADER = struct.Struct("<qq?I")  # pts, duration, keyframe, bytes
_SETTINGS = "settings.json"
_LOCK = "lock"


@dataclass(frozen=True)
class EncodedFrame:
    """One packet of an encoder, in the order of decoding."""

    pts: int
    """When it is shown, in ticks of the source."""
    duration: int
    """In ticks of the source; 0 if unknown."""
    keyframe: bool
    data: bytes


class SegmentFolder:
    """The hidden folder beside a result, in which it is made."""

    def __init__(self, result: Path) -> None:
        """Names the folder for ``result``; nothing is made yet."""
        self.result = result
        self.folder = result.with_name(f".{result.name}.spanpp")

    @contextmanager
    def kept_from_others(self) -> Generator[None]:
        """Makes the folder, and keeps other runs out of it until the block ends.

        Raises:
            VideoError: Another run is in it, or its name is taken by something that is
                not ours.
        """
        if self.folder.exists():
            names = {path.name for path in self.folder.iterdir()}
            if not names <= {_LOCK, f"{_SETTINGS}.partial"} and _SETTINGS not in names:
                raise VideoError(
                    f"{self.folder} is in the way and not ours; remove it or choose"
                    " another name"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("wb") as file:
            if not lock(file):
                raise VideoError(
                    f"{self.result}: another run is writing it; wait for that, or choose"
                    " another name"
                )
            try:
                yield
            finally:
                self._remove_if_empty()
        if sys.platform == "win32":  # where no open file is removed
            self._remove_if_empty()

    def resume(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Returns what an earlier run with ``settings`` kept, or None.

        Work under any other settings, or on another source, is thrown away.
        """
        try:
            stored = json.loads((self.folder / _SETTINGS).read_text("utf-8"))
            if stored["settings"] == settings:
                return stored["kept"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # none, or not whole: made anew
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                path.unlink()
        return None

    def begin(self, settings: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        """Notes the settings, and what a later run has to do alike."""
        text = json.dumps({"settings": settings, "kept": kept}, indent=1)
        _write(self.folder / _SETTINGS, [text.encode()])

    def finished(self) -> int:
        """Returns how many segments are complete, counted from the first."""
        count = 0
        while self._path(count).exists():
            count += 1
        return count

    def write(self, index: int, frames: Iterable[EncodedFrame]) -> None:
        """Writes a segment, which appears whole or not at all."""
        _write(
            self._path(index),
            (
                _HEADER.pack(f.pts, f.duration, f.keyframe, len(f.data)) + f.data
                for f in frames
            ),
        )

    def read(self, index: int) -> Iterator[EncodedFrame]:
        """Yields the packets of a segment."""
        with self._path(index).open("rb") as file:
            while header := file.read(_HEADER.size):
                pts, duration, keyframe, size = _HEADER.unpack(header)
                yield EncodedFrame(pts, duration, keyframe, file.read(size))

    def times(self, index: int) -> list[int]:
        """Returns when the frames of a segment are shown, in the order of decoding."""
        times: list[int] = []
        with self._path(index).open("rb") as file:
            while header := file.read(_HEADER.size):
                pts, _, _, size = _HEADER.unpack(header)
                times.append(pts)
                file.seek(size, os.SEEK_CUR)
        return times

    def remove(self) -> None:
        """Removes the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_if_empty(self) -> None:
        """Removes the folder if it holds the lock alone."""
        if self.folder.exists() and [path.name for path in self.folder.iterdir()] == [
            _LOCK
        ]:
            self.remove()

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06}.segment"


def in_decoding_order(
    segments: SegmentFolder, count: int
) -> Iterator[tuple[int, EncodedFrame]]:
    """Yields every packet of ``count`` segments with its decoding time (dts).

    Each segment came from an encoder of its own, whose decoding times start before its
    first frame and would overlap the last segment's. The times of all frames, shifted by
    as many frames as any is decoded ahead, are ascending and never later than shown.
    """
    ahead = 0
    for index in range(count):
        times = segments.times(index)
        rank = {time: i for i, time in enumerate(sorted(times))}
        ahead = max([ahead, *(i - rank[time] for i, time in enumerate(times))])
    recent: deque[int] = deque()
    for index in range(count):
        recent.extend(sorted(segments.times(index)))
        if index == 0:
            first = recent[0]
            step = recent[1] - first if len(recent) > 1 else 1
            recent.extendleft(first - step * i for i in range(1, ahead + 1))
        for frame in segments.read(index):
            yield recent.popleft(), frame


def _write(path: Path, parts: Iterable[bytes]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
