"""Videos within ``spanpp upscale``: one file to the line that is printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..descriptor import SpanPPDescriptor
from ..engine.target import Method, Target
from ..errors import ScaleError
from ..video import READABLE, upscale_video


@dataclass(frozen=True)
class Job:
    """One file to read and the file to write."""

    source: Path
    result: Path

    def check(self) -> None:
        """Raises ValueError if the file would replace itself."""
        if self.result.exists() and self.result.samefile(self.source):
            raise ValueError(
                f"{self.source} would replace itself; choose another folder"
            )


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video, by its ending."""
    return path.suffix.lower() in READABLE


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
