"""The frames of a video file, one after another, from the planes stored to RGB."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import VideoError
from .colour import to_rgb, values
from .pyav import pyav, reason
from .source import KNOWS_ITS_LENGTH, Clip, end_of, opened

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.plane import VideoPlane


def decoded(clip: Clip) -> Iterator[tuple[int, int, Any]]:
    """Yields presentation time, duration (0: unknown) and frame, in order, to the end.

    Times are in ticks of ``clip.time_base`` from its start on, and strictly ascending: a
    frame without one, or one that goes back, follows the last.

    Raises:
        VideoError: The file is damaged or ends too early.
    """
    av = pyav()
    with opened(clip.path) as container:
        stream = container.streams[clip.stream]
        stream.thread_type = "AUTO"
        step = max(1, round(1 / (clip.rate * clip.time_base)))
        count, last, reached = 0, None, 0.0
        shift = clip.shift(stream.time_base)
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
                reached = max(reached, float(end * packet.time_base))
            if packet.stream.index != clip.stream:
                continue
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                raise VideoError(
                    f"{clip.path}: damaged at frame {count + 1} ({reason(error)})"
                ) from error
            for frame in frames:
                if (frame.height, frame.width) != clip.stored:
                    raise VideoError(
                        f"{clip.path}: changes its size at frame {count + 1}; cut it"
                        " into parts of one size"
                    )
                pts = frame.pts
                if last is not None and (pts is None or pts <= last):
                    pts = last + (step if pts is None else 1)
                last = pts or 0
                count += 1
                if clip.end is not None and last * stream.time_base >= clip.end:
                    return
                if last >= shift or not shift:
                    yield last - shift, frame.duration or 0, frame
        if container.format.name in KNOWS_ITS_LENGTH and container.duration:
            length = end_of(container)
            if reached < length - max(1, length / 50):
                raise VideoError(
                    f"{clip.path}: ends at {reached:.1f} s of {length:.1f} s; it is cut"
                    " off, copy or download it again"
                )


def pixels(clip: Clip, frame: VideoFrame, device: torch.device) -> Tensor:
    """Returns a frame upright as (1, 3, H, W) float32 in [0, `Clip.most`], on a device.

    It goes there as it is stored, in 1 or 2 bytes per sample.
    """
    # alpha is a plane behind the others; FFmpeg leaves values unset where it drops it
    name = re.sub("^yuv[aj]", "yuv", frame.format.name).replace("gbrap", "gbrp")
    if name != clip.pixel_format:
        frame = frame.reformat(format=clip.pixel_format)
    colours = frame.planes[:3]
    planes = [_plane(plane, clip.encoding.bits).to(device) for plane in colours]
    if clip.is_rgb:
        green, blue, red = planes
        rgb = torch.stack([values(plane) for plane in (red, green, blue)])[None]
        rgb /= (1 << clip.encoding.bits) - 1
    else:
        rgb = to_rgb(planes, clip.encoding, most=clip.most)
    return rgb.rot90(clip.turns, (2, 3))


def _plane(plane: VideoPlane, bits: int) -> Tensor:
    """Returns a plane as (H, W), uint8 or int16, see `values`."""
    kind = np.dtype(np.uint8 if bits == 8 else "<i2")
    stored: Any = np.frombuffer(cast("memoryview", plane), kind)
    rows = stored.reshape(-1, plane.line_size // kind.itemsize)
    return torch.from_numpy(rows[: plane.height, : plane.width].copy())
