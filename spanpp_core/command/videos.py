"""Videos within ``spanpp upscale``: one file to the line that is printed."""

from __future__ import annotations

from collections.abc import Callable

from ..descriptor import SpanPPDescriptor
from ..engine.target import Method, Target
from ..errors import ScaleError
from ..video import upscale_video
from .jobs import Job


def upscale_video_file(
    network: SpanPPDescriptor,
    job: Job,
    sized: Callable[[int, int], Target],
    method: Method,
    tile: int | None,
    codec: str | None,
    crf: int | None,
    on_progress: Callable[[int, int], None],
) -> str:
    """Upscales one video and returns the line to print."""
    job.check()
    job.result.parent.mkdir(parents=True, exist_ok=True)
    try:
        made = upscale_video(
            network,
            job.source,
            job.result,
            sized,
            codec=codec,
            crf=crf,
            method=method,
            tile=tile,
            on_progress=on_progress,
        )
    except (ScaleError, MemoryError) as error:
        raise type(error)(f"{job.source}: {error}") from error
    (height, width), (out_height, out_width) = made.source_size, made.size
    line = (
        f"{job.source} {width}x{height} -> {job.result} {out_width}x{out_height},"
        f" {made.frames} frames, {made.codec}"
    )
    if made.left_out:
        without = ", ".join(made.left_out)
        line += f"; without {without}, which {job.result.suffix} does not hold"
    return line
