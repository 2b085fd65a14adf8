"""What a video is written as, and frames into packets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import VideoError
from .codecs import ANY_PLANAR, CODECS, check_hardware, pixel_formats
from .colour import Encoding, to_planes
from .priority import priority_kept
from .pyav import pyav, reason
from .segments import EncodedFrame
from .source import FULL_RANGE, Clip

if TYPE_CHECKING:
    from av import VideoFrame
    from torch import Tensor

LIMITED_RANGE = 1

WRITABLE = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Endings of the containers that are written."""

_GLOBAL_HEADER = 1 << 22  # FFmpeg's AV_CODEC_FLAG_GLOBAL_HEADER


@dataclass(frozen=True)
class Format:
    """Everything an encoder is opened with."""

    codec: str
    options: Mapping[str, str]
    height: int
    width: int
    pixel_format: str
    """What frames are made in, by FFmpeg's name."""
    given_format: str
    """What the encoder is given them in: the same samples, packed otherwise for GPUs."""
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
        *,
        b_frames: bool = True,
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
            b_frames: Whether frames may be stored in another order than shown.

        Raises:
            VideoError: The encoder is not available here, or the container, the width
                or the quality does not go with it.
        """
        suffix = to.suffix.lower()
        if suffix not in WRITABLE:
            raise VideoError(f"{to}: can write {', '.join(WRITABLE)} only")
        codec = codec or ("libvpx-vp9" if suffix == ".webm" else "libx264")
        formats = pixel_formats(codec)
        kind = CODECS[codec]
        options = dict(kind.options)
        if not b_frames:
            options["bf"] = "0"
        if crf is not None and not kind.quality:
            raise VideoError(f"{codec} has no constant quality (crf); leave it out")
        if crf is not None and not 0 <= crf <= kind.worst:
            raise VideoError(
                f"crf {crf} is not possible with {codec}; give 0 (best) to {kind.worst}"
            )
        quality = str(kind.crf if crf is None else crf)
        options |= dict.fromkeys(kind.quality, quality)
        name = _nearest(formats, clip)
        subsampling, bits = ANY_PLANAR[name]
        halved = {"420": (True, True), "422": (False, True)}.get(
            subsampling, (False, False)
        )
        height -= height % 2 if halved[0] else 0
        width -= width % 2 if halved[1] else 0
        if not height or not width:
            raise VideoError(f"{to}: a video of this kind is at least 2x2 pixels")
        if width < kind.least_width:
            raise VideoError(
                f"{to}: {width} pixels are too narrow for {codec}, which takes"
                f" {kind.least_width} or more; choose another codec"
            )
        check_hardware(codec)
        encoding = replace(clip.encoding, bits=bits)
        given = formats[name]
        return Format(codec, options, height, width, name, given, halved, encoding)

    def planes(self, rgb: Tensor) -> list[Tensor]:
        """Converts (1, 3, H, W) in [0, 1] to the planes of a frame, in main memory.

        Rows and columns at the end that are not written are left out.
        """
        rgb = rgb[..., : self.height, : self.width]
        return [plane.cpu() for plane in to_planes(rgb, self.encoding, self.halved)]

    def configure(self, context: Any, clip: Clip) -> None:
        """Sets up an encoder's context that is not open yet."""
        context.width, context.height = self.width, self.height
        context.pix_fmt = self.given_format
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

    def encode(
        self, pts: int, duration: int, planes: Sequence[Tensor]
    ) -> Iterator[EncodedFrame]:
        """Takes a frame as `Format.planes` returns it."""
        form = self._form
        frame = self._av.VideoFrame(form.width, form.height, form.pixel_format)
        for stored, plane in zip(frame.planes, planes):
            pixels = plane.numpy()
            rows = np.frombuffer(stored, pixels.dtype).reshape(stored.height, -1)
            rows[:, : stored.width] = pixels
        if form.given_format != form.pixel_format:
            frame = frame.reformat(format=form.given_format)
        frame.pts, frame.time_base = pts, self._clip.time_base
        form.tag(frame, self._clip)
        self._durations[pts] = duration
        yield from self._frames(frame)

    def finish(self) -> Iterator[EncodedFrame]:
        """Yields what the encoder still holds back."""
        yield from self._frames(None)

    def _frames(self, frame: VideoFrame | None) -> Iterator[EncodedFrame]:
        form = self._form
        try:
            if not self._context.is_open:
                with priority_kept():
                    self._context.open()
            packets = self._context.encode(frame)
        except (self._av.error.FFmpegError, OSError) as error:
            raise VideoError(
                f"{form.codec} refused {form.width}x{form.height} in"
                f" {form.given_format} ({reason(error)}); choose another codec"
            ) from error
        for packet in packets:
            duration = self._durations.pop(packet.pts, 0)
            yield EncodedFrame(
                packet.pts, duration, bool(packet.is_keyframe), bytes(packet)
            )


def _nearest(formats: Collection[str], clip: Clip) -> str:
    """Returns the format nearest to a clip's, rather finer than coarser."""

    def loss(name: str) -> tuple[bool, int, bool, int]:
        chroma, bits = ANY_PLANAR[name]
        depth = bits - clip.encoding.bits
        colour = int(chroma) - int(clip.subsampling)
        return depth < 0, abs(depth), colour < 0, abs(colour)

    return min(formats, key=loss)
