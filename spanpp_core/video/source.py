"""A video file as it is read: what its container and its first frame say of it."""

from __future__ import annotations

import math
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import VideoError
from .colour import BT709, HLG, Encoding, matrix_of
from .pyav import pyav, reason

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg",
    ".mpeg", ".wmv", ".flv",
)  # fmt: skip
"""Endings of the files that are taken for videos."""

FULL_RANGE = 2
RGB = 0
ATTACHED_PICTURE = 0x400
"""FFmpeg's numbers: a colour range, a matrix, and the disposition of cover art."""

KNOWS_ITS_LENGTH = {"mov,mp4,m4a,3gp,3g2,mj2": True, "matroska,webm": False}
"""Containers whose header says how long they are, so that a cut one can be told: from
their first frame on, or from zero."""

MOST_RATE = Fraction(240)
"""Frames per second that SVT-AV1 takes. Some files claim more; times are kept."""

_BITS = (8, 9, 10, 12, 14, 16)
"""Of a sample as it is read: as many as are stored, or the next more; 16 of a float."""


@dataclass(frozen=True)
class Clip:
    """A video stream, as its first frame and the container describe it."""

    path: Path
    stream: int
    """Index in the container."""
    height: int
    """Rows of a frame shown upright."""
    width: int
    """Columns of a frame shown upright."""
    turns: int
    """Quarter turns, counter-clockwise, from how frames are stored to upright."""
    stored: tuple[int, int]
    """(height, width) of a frame as stored."""
    pixel_format: str
    """What frames are read as: planar, by FFmpeg's name."""
    subsampling: str
    """"420", "422" or "444"."""
    is_rgb: bool
    encoding: Encoding
    """Of the planes; of the result's too, except for the depth. For RGB, that alone."""
    primaries: int
    transfer: int
    sample_aspect: Fraction | None
    """Width to height of a pixel shown upright."""
    rate: Fraction
    """Frames per second, on average."""
    time_base: Fraction
    """Seconds in a tick of the presentation times."""
    frames: int
    """How many there are; an estimate where the container does not count."""
    start: Fraction
    """What is left out at the beginning of the file, in seconds."""
    end: Fraction | None
    """From where on the file is left out, in its seconds; None for its end."""

    @property
    def is_cut(self) -> bool:
        """Whether it is a part of the file."""
        return self.start > 0 or self.end is not None

    @property
    def most(self) -> float:
        """The largest value of a frame: white is 1."""
        return 1.1 if self.transfer == HLG else 1.0

    def shift(self, time_base: Fraction) -> int:
        """Returns `start` in ticks of a stream: zero of the clip's own times."""
        return round(self.start / time_base)


@contextmanager
def opened(path: Path) -> Generator[Any]:
    """Opens a video for reading.

    Raises:
        VideoError: It is missing, damaged, or no video; on entry and for the errors of
            FFmpeg that leave the block.
    """
    av = pyav()
    if not path.is_file():
        raise VideoError(f"{path}: no such file")
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            try:
                yield container
            finally:
                _rest(container)
    except av.error.FFmpegError as error:
        raise VideoError(f"{path}: damaged or not a video ({reason(error)})") from error


def _rest(container: Any) -> None:
    """Waits until the threads of the decoders are done with what they have.

    PyAV frees a decoder with Python's lock held, and its threads take that lock to log an
    error: freed while they work, they wait for each other for ever. Here it is released.
    """
    for stream in container.streams.video:
        if stream.codec_context:
            stream.codec_context.flush_buffers()


def picture_stream(container: Any, path: Path) -> Any:
    """Returns the stream to upscale: the first that is no cover art."""
    for stream in container.streams.video:
        cover = stream.disposition.value & ATTACHED_PICTURE
        if stream.codec_context and not cover:
            return stream
    raise VideoError(f"{path}: has no video that can be decoded")


def probe(
    path: str | os.PathLike[str], start: float = 0, end: float | None = None
) -> Clip:
    """Reads the header and the first frame of a video.

    Args:
        path: The file.
        start: Where the clip begins, in seconds of the file.
        end: Where it ends; None for the end of the file.

    Raises:
        VideoError: It cannot be read, its colours are of a kind that is not known, or it
            cannot be cut so.
    """
    path = Path(path)
    if not (0 <= start < math.inf and (end is None or start <= end < math.inf)):
        raise VideoError(
            f"{path}: cannot be cut from {start} s to {end} s; give a start from 0 on, and"
            " an end behind it, or None for the end of the file"
        )
    with opened(path) as container:
        stream = picture_stream(container, path)
        frame = next(container.decode(stream), None)
        if frame is None:
            raise VideoError(f"{path}: has no frames")
        samples = _samples_of(frame, stream.codec_context.height, path)
        turns = round(frame.rotation / 90) % 4
        height, width = frame.height, frame.width
        aspect = stream.sample_aspect_ratio or None
        if turns % 2:
            height, width = width, height
            aspect = 1 / aspect if aspect else None
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        rate = min(rate, MOST_RATE)
        last = end_of(container)
        first = float((frame.pts or 0) * stream.time_base)
        seconds = (last if end is None else min(end, last)) - max(start, first)
        counted = 0 if start or end is not None else stream.frames
        return Clip(
            path=path,
            stream=stream.index,
            height=height,
            width=width,
            turns=turns,
            stored=(frame.height, frame.width),
            pixel_format=samples.pixel_format,
            subsampling=samples.subsampling,
            is_rgb=samples.is_rgb,
            encoding=samples.encoding,
            primaries=int(stream.codec_context.color_primaries),
            transfer=int(stream.codec_context.color_trc),
            sample_aspect=aspect,
            rate=rate,
            time_base=stream.time_base,
            frames=counted or max(1, round(seconds * rate)),
            start=Fraction(start).limit_denominator(1_000_000),
            end=None if end is None else Fraction(end).limit_denominator(1_000_000),
        )


class _Samples(NamedTuple):
    """How the samples of a frame are read; see the fields of `Clip`."""

    pixel_format: str
    subsampling: str
    is_rgb: bool
    encoding: Encoding


def _samples_of(frame: Any, height: int, path: Path) -> _Samples:
    """Returns how the frames of a file are read, from the first; ``height`` as stored."""
    form = frame.format
    stored = form.components[0].bits
    bits = next((each for each in _BITS if each >= stored), _BITS[-1])
    depth = "" if bits == 8 else f"{bits}le"
    if form.is_rgb or form.has_palette or frame.colorspace == RGB:
        return _Samples(f"gbrp{depth}", "420", True, Encoding(bits, BT709, False))
    matrix = matrix_of(int(frame.colorspace), height)
    if matrix is None:
        raise VideoError(
            f"{path}: has the colour matrix {int(frame.colorspace)} of ITU-T H.273,"
            " which is not supported; convert it to BT.709 or BT.2020nc first"
        )
    full = int(frame.color_range) == FULL_RANGE or form.name.startswith("yuvj")
    grey = len(form.components) < 3
    subsampling = "420" if grey else _subsampling(form)
    name = f"gray{depth}" if grey else f"yuv{subsampling}p{depth}"
    return _Samples(name, subsampling, False, Encoding(bits, matrix, full))


def end_of(container: Any) -> float:
    """Returns where a file ends, in its seconds, as its header says; 0 if it does not."""
    from_first = KNOWS_ITS_LENGTH.get(container.format.name, True)
    before = container.start_time or 0 if from_first else 0
    return ((container.duration or 0) + before) / 1_000_000


def _subsampling(form: Any) -> str:
    """The chroma that is read: as stored, or the next finer that is dealt with."""
    columns = form.chroma_width(4) < 4
    rows = form.chroma_height(4) < 4
    return {(True, True): "420", (False, True): "422"}.get((rows, columns), "444")
