"""Small videos, made on the spot, and what is in a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from spanpp_core import Size

BT709 = 1
LIMITED = 1

UNEVEN = [0, 512, 700, 2048, 2064, 9000, 9512, 30000, 30016, 30512, 40000]
"""Times of a variable frame rate, in ticks of 1/12800 s."""


TWICE = Size(factor=2)


_written: dict[str, bytes] = {}
"""What was encoded before, by what was asked for: most tests ask for the same."""


def write_clip(path: Path, **options: Any) -> Path:
    """Writes a moving gradient with a tone of its length; see `_encode` for options."""
    return _once(path, _encode, options)


def write_sound(path: Path) -> Path:
    """Writes a tone, and no picture."""
    return _once(path, _encode_sound, {})


def _once(path: Path, encode: Callable[..., None], options: dict[str, Any]) -> Path:
    asked = f"{encode.__name__} {path.suffix} {sorted(options.items())}"
    if asked not in _written:
        encode(path, **options)
        _written[asked] = path.read_bytes()
    path.write_bytes(_written[asked])
    return path


def _encode(
    path: Path,
    *,
    times: list[int] | None = None,
    time_base: Fraction = Fraction(1, 12800),
    size: tuple[int, int] = (18, 24),
    pixel_format: str = "yuv420p",
    codec: str = "libx264",
    sound: str | None = "aac",
    subtitles: bool = False,
    tags: dict[str, Any] | None = None,
) -> None:
    """Encodes the clip.

    Args:
        path: The file.
        times: When each frame is shown, in ticks; 10 at 25 a second if absent.
        time_base: Seconds in a tick.
        size: (height, width) in pixels.
        pixel_format: FFmpeg's name.
        codec: FFmpeg's name.
        sound: The codec of a tone beside it, or None.
        subtitles: Whether to add one line.
        tags: What to set on the encoder.
    """
    times = times or [512 * i for i in range(10)]
    height, width = size
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "a clip"
        video = container.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = width, height, pixel_format
        video.codec_context.time_base = time_base
        for name, value in (tags or {}).items():
            setattr(video.codec_context, name, value)
        tone = container.add_stream(sound, rate=48000) if sound else None
        text = _subtitles(container, path) if subtitles else None
        container.set_chapters(
            [{"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000),
              "metadata": {"title": "first"}}]
        )  # fmt: skip
        for i, pts in enumerate(times):
            frame = picture(i, height, width).reformat(format=pixel_format)
            frame.pts, frame.time_base = pts, time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if tone is not None:
            tone.metadata["language"] = "fra"
            _play(container, tone, float(times[-1] * time_base))
        if text is not None:
            line = av.Packet(b"Hello")
            line.pts = line.dts = 40
            line.duration, line.time_base, line.stream = 100, Fraction(1, 1000), text
            container.mux(line)


def _encode_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        _play(container, container.add_stream("aac", rate=48000), 1)


def _subtitles(container: Any, path: Path) -> Any:
    """Adds a stream for lines of text; one cannot be had without a file of them."""
    lines = path.with_suffix(".srt")
    lines.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    with av.open(str(lines)) as source:
        stream = container.add_stream_from_template(source.streams[0], opaque=True)
    lines.unlink()
    return stream


def _play(container: Any, stream: Any, seconds: float) -> None:
    for start in range(0, int(seconds * 48000) + 1024, 1024):
        wave = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)
        sample = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
        sample.sample_rate, sample.pts = 48000, start
        container.mux(stream.encode(sample))
    container.mux(stream.encode(None))


def picture(index: int, height: int, width: int) -> av.VideoFrame:
    """Frame ``index`` of the moving gradient, RGB."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = rows * 255 // height, (columns * 255 // width + 9 * index) % 256
    pixels = np.stack([red, green, np.full_like(red, 128)], axis=2)
    return av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24")


@dataclass
class Contents:
    """What is in a file, in a form that compares."""

    times: list[Fraction]
    """When each frame is shown, in seconds."""
    frames: list[np.ndarray]
    """The planes of each frame, one after another."""
    video: dict[str, Any]
    packets: dict[str, list[tuple[Fraction, bytes]]] = field(default_factory=dict)
    """Of all but the video: times in seconds and bytes, by type of stream."""
    title: str = ""
    chapters: list[str] = field(default_factory=list)


def contents(path: Path) -> Contents:
    """Reads a whole file."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        frames = list(container.decode(stream))
        found = Contents(
            [frame.pts * stream.time_base for frame in frames],
            [
                np.concatenate([np.frombuffer(each, np.uint8) for each in frame.planes])
                for frame in frames
            ],
            {
                "size": (frames[0].height, frames[0].width),
                "format": context.pix_fmt,
                "codec": context.name,
                "range": context.color_range,
                "matrix": context.colorspace,
                "primaries": context.color_primaries,
                "transfer": context.color_trc,
                "aspect": stream.sample_aspect_ratio,
                "time base": stream.time_base,
            },
            title=container.metadata.get("title", ""),
            chapters=[each["metadata"]["title"] for each in container.chapters()],
        )
    with av.open(str(path)) as container:
        for packet in container.demux():
            kind = packet.stream.type
            if packet.size and kind in ("audio", "subtitle"):
                time = packet.pts * packet.time_base
                found.packets.setdefault(kind, []).append((time, bytes(packet)))
    return found
