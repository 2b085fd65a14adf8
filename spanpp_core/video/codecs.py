"""The encoders that videos are written with: their settings, and which of them run here."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from ..errors import VideoError
from .priority import priority_kept
from .pyav import pyav, reason

ANY_PLANAR = {
    f"yuv{chroma}p" + ("" if bits == 8 else f"{bits}le"): (chroma, bits)
    for chroma in ("420", "422", "444")
    for bits in (8, 10, 12, 16)
}
"""Chroma and depth of the pixel formats that frames are made in, by FFmpeg's names."""

PACKED = {"yuv420p": "nv12", "yuv420p10le": "p010le"}
"""What GPUs take instead: the same samples, both planes of chroma as one."""


@dataclass(frozen=True)
class Codec:
    """An encoder's settings where nothing else is asked for."""

    quality: tuple[str, ...]
    """The options that set its constant quality; none if it has no such scale."""
    crf: int | None
    """What they are set to by default: lower is better."""
    options: Mapping[str, str]
    least_width: int = 2
    """Columns that it takes at least, in pixels."""
    formats: tuple[str, ...] = tuple(ANY_PLANAR)
    """The pixel formats that may be chosen."""
    needs: str = ""
    """The hardware that it runs on, in words; empty for the processor."""
    worst: int = 51
    """The largest value of the quality; 0 is the best."""


_EIGHT_BITS = ("yuv420p",)
_UP_TO_TEN_BITS = ("yuv420p", "yuv420p10le")


def _nvenc(crf: int, formats: tuple[str, ...]) -> Codec:
    # without a bit rate "cq" alone decides
    options = {"preset": "p5", "rc": "vbr", "b": "0"}
    needs = "an NVIDIA GPU and its driver"
    return Codec(("cq",), crf, options, 256, formats, needs)


def _qsv(crf: int, formats: tuple[str, ...]) -> Codec:
    needs = "an Intel GPU and its driver"
    return Codec(("global_quality",), crf, {"preset": "slow"}, 256, formats, needs)


def _amf(crf: int, formats: tuple[str, ...]) -> Codec:
    options = {"rc": "cqp", "quality": "quality"}
    needs = "an AMD GPU and its driver"
    return Codec(("qp_i", "qp_p"), crf, options, 256, formats, needs)


def _videotoolbox(formats: tuple[str, ...]) -> Codec:
    # a share of the best quality, 70 %, in FFmpeg's unit of 118
    options = {"flags": "+qscale", "global_quality": str(70 * 118)}
    return Codec((), None, options, 256, formats, "a Mac with Apple silicon")


CODECS = {
    # its macroblock tree makes other bytes of the same frames at every run
    "libx264": Codec(("crf",), 17, {"preset": "medium", "x264-params": "mbtree=0"}),
    # it writes beyond its own memory when a video is narrower than its largest block
    "libx265": Codec(
        ("crf",), 18, {"preset": "medium", "x265-params": "log-level=error"}, 64
    ),
    "libvpx-vp9": Codec(
        ("crf",), 18, {"b": "0", "row-mt": "1", "cpu-used": "2"}, worst=63
    ),
    "libsvtav1": Codec(("crf",), 20, {"preset": "6"}, worst=63),
    "prores_ks": Codec((), None, {"profile": "3"}),
    "ffv1": Codec((), None, {"level": "3"}),
    "h264_nvenc": _nvenc(19, _EIGHT_BITS),
    "hevc_nvenc": _nvenc(21, _UP_TO_TEN_BITS),
    "av1_nvenc": _nvenc(25, _UP_TO_TEN_BITS),
    "h264_qsv": _qsv(19, _EIGHT_BITS),
    "hevc_qsv": _qsv(21, _UP_TO_TEN_BITS),
    "av1_qsv": _qsv(25, _UP_TO_TEN_BITS),
    "h264_amf": _amf(19, _EIGHT_BITS),
    "hevc_amf": _amf(21, _UP_TO_TEN_BITS),
    "av1_amf": replace(_amf(75, _UP_TO_TEN_BITS), worst=255),
    "h264_videotoolbox": _videotoolbox(_EIGHT_BITS),
    "hevc_videotoolbox": _videotoolbox(_UP_TO_TEN_BITS),
}
"""
By FFmpeg's names. Qualities are those at which the result of libx264, libx265, VP9 and
SVT-AV1 looks like its input; those of GPUs follow them on their own scales.
"""


def pixel_formats(name: str) -> dict[str, str]:
    """Returns what frames may be made in for an encoder, and what it is given of each.

    Raises:
        VideoError: There is no such encoder, here or at all.
    """
    if name not in CODECS:
        raise VideoError(f"codec {name} is not one of {', '.join(CODECS)}")
    av = pyav()
    try:
        taken = {each.name for each in av.codec.Codec(name, "w").video_formats or ()}
    except (av.error.FFmpegError, ValueError) as error:
        here = ", ".join(each for each in CODECS if each in av.codecs_available)
        raise VideoError(f"PyAV has no {name} here; choose one of {here}") from error
    given: dict[str, str] = {}
    for form in CODECS[name].formats:
        if form in taken:
            given[form] = form
        elif PACKED.get(form) in taken:
            given[form] = PACKED[form]
    return given


def check_hardware(name: str) -> None:
    """Opens an encoder that runs on a GPU.

    Raises:
        VideoError: There is none for it; what it needs is named.
    """
    if (needs := CODECS[name].needs) and (failure := _failure(name)):
        raise VideoError(f"{name} needs {needs} ({failure}); choose another codec")


def codecs_here() -> list[str]:
    """Returns those of `CODECS` that can be used here; GPUs are asked."""
    available = pyav().codecs_available
    return [
        name
        for name, codec in CODECS.items()
        if name in available and not (codec.needs and _failure(name))
    ]


@functools.cache
def _failure(name: str) -> str:
    """Opens an encoder; returns why it cannot be, or nothing."""
    av = pyav()
    try:
        given = next(iter(pixel_formats(name).values()))
        context = av.CodecContext.create(name, "w")
        context.width = context.height = 256
        context.pix_fmt, context.time_base = given, Fraction(1, 25)
        context.options = dict(CODECS[name].options)
        with priority_kept():
            context.open()
    except (av.error.FFmpegError, OSError, ValueError, StopIteration) as error:
        return reason(error)
    return ""
