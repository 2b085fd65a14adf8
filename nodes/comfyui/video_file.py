"""A video between nodes as a file: its own, or one that is written without loss."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from comfy_api.latest import InputImpl

from ...spanpp_core.video import Sound, write_images


class VideoFile(NamedTuple):
    """A file, and the part of it that a video is."""

    path: Path
    start: float
    """In seconds of the file."""
    end: float | None
    """In seconds of the file; None for its end."""


def file_of(video: Any, folder: Path) -> VideoFile:
    """Returns a video as a file.

    Args:
        video: What the host passes between nodes: a file, a part of one, or images.
        folder: Where to write what is not in a file; equal videos have equal names.
    """
    if isinstance(video, InputImpl.VideoFromComponents):
        return VideoFile(
            _written(folder, ".mp4", lambda to: _write(video, to)), 0, None
        )
    window = getattr(video, "get_active_trim_window", None)  # newer hosts cut videos
    start, duration = window() if window else (0.0, 0.0)
    end = start + duration if duration else None
    source = video.get_stream_source()
    if isinstance(source, BytesIO):
        data = source.getbuffer()
        path = _written(folder, ".mp4", lambda to: to.write_bytes(data))
    else:
        path = Path(source)
    return VideoFile(path, start, end)


def _write(video: Any, path: Path) -> None:
    """Writes a video that was made of images."""
    made = video.get_components()
    sound = made.audio and Sound(made.audio["waveform"][0], made.audio["sample_rate"])
    depth = getattr(video, "get_bit_depth", None)
    rate = Fraction(made.frame_rate).limit_denominator(1001)
    bits = depth() if depth else 8
    write_images(path, made.images, rate, bits=bits, sound=sound or None)


def _written(folder: Path, suffix: str, write: Callable[[Path], object]) -> Path:
    """Returns a file named after what is in it; one that is there stays."""
    partial = folder / f"partial{suffix}"
    try:
        write(partial)
        with partial.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(2**20):
                digest.update(block)
        path = folder / f"{digest.hexdigest()[:16]}{suffix}"
        if not path.exists():
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
