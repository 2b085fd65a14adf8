"""What a video is written as: the encoders, their settings, and frames into packets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import VideoError
from .colour import Encoding, to_planes
from .pyav import pyav
from .segments import EncodedFrame
from .source import FULL_RANGE, Clip

LIMITED_RANGE = 1

WRITABLE = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Endings of the containers that are written."""

_GLOBAL_HEADER = 1 << 22  # FFmpeg's AV_CODEC_FLAG_GLOBAL_HEADER


@dataclass(frozen=True)
class Codec:
    """An encoder's settings where nothing else is asked for."""

    crf: int | None
    """Constant quality, lower is better; None for an encoder that has no such scale."""
    options: Mapping[str, str]
    least_width: int = 2
    """Columns that it takes at least, in pixels."""


CODECS = {
    # its macroblock tree makes other bytes of the same frames at every run
    "libx264": Codec(17, {"preset": "medium", "x264-params": "mbtree=0"}),
    # it writes beyond its own memory when a video is narrower than its largest block
    "libx265": Codec(18, {"preset": "medium", "x265-params": "log-level=error"}, 64),
    "libvpx-vp9": Codec(18, {"b": "0", "row-mt": "1", "cpu-used": "2"}),
    "libsvtav1": Codec(20, {"preset": "6"}),
    "prores_ks": Codec(None, {"profile": "3"}),
    "ffv1": Codec(None, {"level": "3"}),
}
"""By FFmpeg's names. Qualities are those at which the result looks like its input."""


@dataclass(frozen=True)
class Format:
    """Everything an encoder is opened with."""

    codec: str
    options: Mapping[str, str]
    height: int
    width: int
    pixel_format: str
    halved: tuple[bool, bool]
    """Whether chroma has half the rows, and half the columns."""
    encoding: Encoding

    @staticmethod
    def of(
        clip: Clip,
        height: int,
        width: int,
        codec: str | None,
        crf: int | None,
        to: Path,
    ) -> Format:
        """Chooses how to write ``clip`` at a size in pixels.

        The depth and chroma of the clip are kept where the encoder has them. Where chroma
        is halved the last row or column of an odd size is left out.

        Args:
            clip: What is written.
            height: Rows of the result.
            width: Columns of the result.
            codec: A name of `CODECS`; None for the usual one of the container.
            crf: Constant quality; None for the codec's own.
            to: The file to write.

        Raises:
            VideoError: The encoder is not to be had, or does not go with the container
                or the quality.
        """
        suffix = to.suffix.lower()
        if suffix not in WRITABLE:
            raise VideoError(f"{to}: can write {', '.join(WRITABLE)} only")
        codec = codec or ("libvpx-vp9" if suffix == ".webm" else "libx264")
        os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 would print its settings
        formats = _pixel_formats(codec)
        options = dict(CODECS[codec].options)
        default = CODECS[codec].crf
        if default is not None:
            options["crf"] = str(default if crf is None else crf)
        elif crf is not None:
            raise VideoError(f"{codec} has no constant quality; leave --crf out")
        name, subsampling, bits = _nearest(formats, clip)
        halved = {"420": (True, True), "422": (False, True)}.get(
            subsampling, (False, False)
        )
        height -= height % 2 if halved[0] else 0
        width -= width % 2 if halved[1] else 0
        if not height or not width:
            raise VideoError(f"{to}: a video of this kind is at least 2x2 pixels")
        if width < CODECS[codec].least_width:
            raise VideoError(
                f"{to}: {width} pixels are too narrow for {codec}, which takes"
                f" {CODECS[codec].least_width} or more; take another --codec"
            )
        encoding = replace(clip.encoding, bits=bits)
        return Format(codec, options, height, width, name, halved, encoding)

    def configure(self, context: Any, clip: Clip) -> None:
        """Sets up an encoder's context that is not open yet."""
        context.width, context.height = self.width, self.height
        context.pix_fmt = self.pixel_format
        context.time_base = clip.time_base
        context.framerate = clip.rate
        if clip.sample_aspect is not None:
            context.sample_aspect_ratio = clip.sample_aspect
        self.tag(context, clip)
        context.options = dict(self.options)
        context.flags |= _GLOBAL_HEADER

    def tag(self, given: Any, clip: Clip) -> None:
        """Says which colours the numbers mean, in a context or in a frame."""
        tags = {
            "color_range": FULL_RANGE if self.encoding.full_range else LIMITED_RANGE,
            "colorspace": self.encoding.matrix,
            "color_primaries": clip.primaries,
            "color_trc": clip.transfer,
        }
        for name, value in tags.items():
            if hasattr(given, name):  # frames have the last two since PyAV 17
                setattr(given, name, value)


class Encoder:
    """One run of an encoder, over the frames of one segment."""

    def __init__(self, form: Format, clip: Clip) -> None:
        """Opens it at the first frame."""
        self._av = pyav()
        self._form = form
        self._clip = clip
        self._context = self._av.CodecContext.create(form.codec, "w")
        form.configure(self._context, clip)
        self._durations: dict[int, int] = {}

    def encode(self, pts: int, duration: int, rgb: Tensor) -> Iterator[EncodedFrame]:
        """Takes a frame, (1, 3, H, W) in [0, 1] of at least the size that is written."""
        form = self._form
        rgb = rgb[..., : form.height, : form.width]
        frame = self._av.VideoFrame(form.width, form.height, form.pixel_format)
        deep = form.encoding.bits > 8
        for plane, made in zip(
            frame.planes, to_planes(rgb, form.encoding, form.halved)
        ):
            stored = np.zeros((plane.height, plane.line_size), np.uint8)
            target = stored.view("<u2") if deep else stored
            target[:, : plane.width] = made.cpu().numpy()
            plane.update(stored.tobytes())
        frame.pts, frame.time_base = pts, self._clip.time_base
        form.tag(frame, self._clip)
        self._durations[pts] = duration
        yield from self._frames(frame)

    def finish(self) -> Iterator[EncodedFrame]:
        """Yields what the encoder still holds back."""
        yield from self._frames(None)

    def _frames(self, frame: Any) -> Iterator[EncodedFrame]:
        try:
            packets = self._context.encode(frame)
        except self._av.error.FFmpegError as error:
            raise VideoError(
                f"{self._form.codec} refused {self._form.width}x{self._form.height} in"
                f" {self._form.pixel_format} ({error.strerror}); try another --codec"
            ) from error
        for packet in packets:
            duration = self._durations.pop(packet.pts, 0)
            yield EncodedFrame(
                packet.pts, duration, bool(packet.is_keyframe), bytes(packet)
            )


def _pixel_formats(codec: str) -> dict[str, tuple[str, int]]:
    """Returns chroma and depth of the planar formats that an encoder takes, by name."""
    if codec not in CODECS:
        raise VideoError(f"codec {codec} is not one of {', '.join(CODECS)}")
    av = pyav()
    try:
        names = {each.name for each in av.codec.Codec(codec, "w").video_formats}
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError(
            f"this av has no {codec}; choose one of {', '.join(CODECS)}"
        ) from error
    known = {
        f"yuv{chroma}p" + ("" if bits == 8 else f"{bits}le"): (chroma, bits)
        for chroma in ("420", "422", "444")
        for bits in (8, 10, 12, 16)
    }
    return {name: kind for name, kind in known.items() if name in names}


def _nearest(
    formats: Mapping[str, tuple[str, int]], clip: Clip
) -> tuple[str, str, int]:
    """Returns the name, chroma and depth nearest to a clip's, sooner finer than not."""

    def loss(name: str) -> tuple[bool, int, bool, int]:
        chroma, bits = formats[name]
        depth = bits - clip.encoding.bits
        colour = int(chroma) - int(clip.subsampling)
        return depth < 0, abs(depth), colour < 0, abs(colour)

    name = min(formats, key=loss)
    return (name, *formats[name])
