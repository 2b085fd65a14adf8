"""The finished file: encoded segments, and all else the source holds, unchanged."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import VideoError
from .encoder import Format
from .priority import priority_kept
from .pyav import pyav, reason
from .segments import EncodedFrame
from .source import Clip, opened

_OF_THE_OLD_FILE = (
    "major_brand", "minor_version", "compatible_brands", "encoder", "duration", "bps",
    "number_of_frames", "number_of_bytes", "_statistics", "vendor_id",
)  # fmt: skip
"""Beginnings of metadata that describes the source's bytes, in small letters."""


def dry_run(path: Path, clip: Clip, form: Format) -> tuple[str, ...]:
    """Finds out what a container takes, before the work: its header is written.

    Args:
        path: A file to try with, whose ending says the container.
        clip: The source.
        form: What frames will be encoded with.

    Returns:
        The streams of the source that it does not take, in words; none is sound.

    Raises:
        VideoError: It does not take the codec, or the sound.
    """
    with opened(clip.path) as source, _written(path, source, clip) as made:
        _, copies = _add_streams(made, source, path, clip, form)
        with priority_kept():
            made.start_encoding()
        left_out: list[str] = []
        for stream in source.streams:
            if stream.index == clip.stream or stream.index in copies:
                continue
            if stream.type == "audio":
                raise VideoError(
                    f"{path.suffix} cannot hold the {stream.name} sound of {clip.path};"
                    " write .mkv"
                )
            # chapters of MP4 are a stream too, and are written as chapters
            if stream.type != "data" or not source.chapters():
                left_out.append(f"{stream.type} stream {stream.index}")
        return tuple(left_out)


def remux(
    path: Path, clip: Clip, form: Format, frames: Iterable[tuple[int, EncodedFrame]]
) -> None:
    """Writes a whole video file.

    Args:
        path: The file, whose ending says the container.
        clip: The source, from which all streams but the picture are copied.
        form: What the frames were encoded with.
        frames: The packets with their decoding times, ascending.

    Raises:
        VideoError: It could not be written.
    """
    with opened(clip.path) as source, _written(path, source, clip) as made:
        picture, copies = _add_streams(made, source, path, clip, form)
        with priority_kept():
            made.start_encoding()
        ours = _packets(frames, clip, picture)
        for packet in _merged(ours, _copied(source, copies, clip)):
            made.mux_one(packet)


@contextmanager
def _written(path: Path, source: Any, clip: Clip) -> Generator[Any]:
    """Opens a container to write, with the source's title and chapters."""
    av = pyav()
    options = {"fflags": "+bitexact"}  # no random identifiers
    if path.suffix.lower() in (".mp4", ".m4v", ".mov"):
        options["movflags"] = "+faststart"
    else:
        # sound may start before zero; moving everything along would change all times
        options["avoid_negative_ts"] = "disabled"
    try:
        with av.open(str(path), "w", options=options) as made:
            made.metadata.update(_kept(source.metadata))
            if (chapters := source.chapters()) and not clip.is_cut:
                made.set_chapters(chapters)
            yield made
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path.suffix} could not be written ({reason(error)})"
        ) from error


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in metadata.items()
        if not name.lower().startswith(_OF_THE_OLD_FILE)
    }


def _add_streams(
    made: Any, source: Any, path: Path, clip: Clip, form: Format
) -> tuple[Any, dict[int, Any]]:
    """Adds the source's streams in their order: the picture, and copies by index."""
    picture = None
    copies: dict[int, Any] = {}
    for stream in source.streams:
        if stream.index == clip.stream:
            try:
                added = picture = made.add_stream(form.codec, rate=clip.rate)
            except ValueError as error:
                raise VideoError(
                    f"{path.suffix} cannot hold {form.codec}; write .mkv, or choose"
                    " another codec"
                ) from error
            form.configure(picture.codec_context, clip)
        elif _fits(stream, path):
            added = made.add_stream_from_template(stream, opaque=True)
            copies[stream.index] = added
        else:
            continue
        added.metadata.update(_kept(stream.metadata))
        added.disposition = stream.disposition.value
    return picture, copies


def _fits(stream: Any, path: Path) -> bool:
    """Whether a container takes a stream: a header of nothing else is written."""
    av = pyav()
    trial = path.with_name(f"trial{path.suffix}")
    try:
        with av.open(str(trial), "w") as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    finally:
        trial.unlink(missing_ok=True)
    return True


def _packets(
    frames: Iterable[tuple[int, EncodedFrame]], clip: Clip, stream: Any
) -> Iterator[Any]:
    av = pyav()
    for dts, frame in frames:
        packet = av.Packet(frame.data)
        packet.pts, packet.dts, packet.duration = frame.pts, dts, frame.duration
        packet.time_base = clip.time_base
        packet.is_keyframe = frame.keyframe
        packet.stream = stream
        yield packet


def _copied(source: Any, copies: dict[int, Any], clip: Clip) -> Iterator[Any]:
    wanted = [source.streams[index] for index in copies]
    for packet in source.demux(*wanted) if wanted else ():
        if not packet.size:  # the last one of each stream is a mark, and empty
            continue
        if clip.is_cut:
            shift = clip.shift(packet.time_base)
            time = packet.pts if packet.pts is not None else packet.dts
            if time is None or time < shift:
                continue
            if clip.end is not None and time * packet.time_base >= clip.end:
                continue
            packet.pts = time - shift
            packet.dts = packet.dts if packet.dts is None else packet.dts - shift
        packet.stream = copies[packet.stream.index]
        yield packet


def _merged(ours: Iterator[Any], theirs: Iterator[Any]) -> Iterator[Any]:
    """Yields packets of both in the order of time: a container is read along it."""
    mine = next(ours, None)
    for packet in theirs:
        time = packet.dts if packet.dts is not None else packet.pts
        while mine is not None and mine.dts * mine.time_base <= (
            (time or 0) * packet.time_base
        ):
            yield mine
            mine = next(ours, None)
        yield packet
    if mine is not None:
        yield mine
    yield from ours
