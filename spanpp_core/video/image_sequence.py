"""Images in memory as a video file, without loss: what a program made of frames."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import VideoError
from .colour import BT709
from .pyav import pyav

if TYPE_CHECKING:
    from av import VideoFrame
    from torch import Tensor

SRGB = 13
"""The code point of sRGB's transfer."""

AAC_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
"""Samples per second that are kept; any other becomes the first."""

LAYOUTS = {1: "mono", 6: "5.1"}
"""Layouts by the number of channels; stereo of any other."""


class Sound(NamedTuple):
    """Samples in memory."""

    samples: Tensor
    """(channels, samples) in [-1, 1]."""
    rate: int
    """Samples per second."""


def write_images(
    path: Path, images: Tensor, rate: Fraction, *, bits: int = 8, sound: Sound | None
) -> None:
    """Writes images as FFV1; the sound as AAC, cut to their length.

    Args:
        path: The file: .mp4 keeps times exactly, .mkv to milliseconds. Equal images
            give equal bytes.
        images: (N, H, W, C) sRGB in [0, 1], of any size; rounded to ``bits``. C is 3, 1
            (grey), or 4: then alpha is left out.
        rate: Images per second.
        bits: 8, or 9 to 16.
        sound: What is heard, from the first image on.

    Raises:
        VideoError: There are no images.
    """
    if not len(images):
        raise VideoError("the video has no images; there is nothing to write")
    av = pyav()
    height, width = images.shape[1:3]
    top = (1 << bits) - 1
    options = {"fflags": "+bitexact"}  # no random identifiers
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height = width, height
        stream.pix_fmt = _pixel_format(bits)
        stream.codec_context.color_primaries = BT709
        stream.codec_context.color_trc = SRGB
        track = None
        if sound is not None:
            at = sound.rate if sound.rate in AAC_RATES else AAC_RATES[0]
            layout = LAYOUTS.get(len(sound.samples), "stereo")
            track = container.add_stream("aac", rate=at, layout=layout)
        for image in images:
            colours = image[..., :3].expand(-1, -1, 3)
            stored = (colours.float().cpu() * top).round_().clamp_(0, top)
            container.mux(stream.encode(_frame(stored.numpy(), bits)))
        container.mux(stream.encode(None))
        if sound is not None and track is not None:
            last = math.ceil(len(images) * sound.rate / rate)
            samples = sound.samples[:, :last].float().cpu()
            if len(samples) not in (1, 2, 6):
                samples = samples[:2]
            wave = np.ascontiguousarray(samples.numpy())
            heard = av.AudioFrame.from_ndarray(wave, "fltp", track.layout.name)
            heard.sample_rate, heard.pts = sound.rate, 0
            resampler = av.AudioResampler("fltp", track.layout, track.rate)
            for part in (*resampler.resample(heard), *resampler.resample(None)):
                container.mux(track.encode(part))
            container.mux(track.encode(None))


def _pixel_format(bits: int) -> str:
    return "bgr0" if bits == 8 else f"gbrp{bits}le"


def _frame(pixels: np.ndarray[Any, Any], bits: int) -> VideoFrame:
    """Returns a frame of (H, W, 3) integers as floating point."""
    height, width = pixels.shape[:2]
    frame = pyav().VideoFrame(width, height, _pixel_format(bits))
    if bits == 8:
        rows = np.frombuffer(frame.planes[0], np.uint8).reshape(height, -1, 4)
        rows[:, :width, :3] = pixels[..., ::-1]
    else:
        for plane, channel in zip(frame.planes, (1, 2, 0)):  # green, blue, red
            rows = np.frombuffer(plane, "<u2").reshape(height, -1)
            rows[:, :width] = pixels[..., channel]
    return frame
