"""A video upscaled frame by frame, in the memory of a few frames; it can be resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from ..backends import chosen
from ..descriptor import SpanPPDescriptor
from ..engine.size import Fractional, Size
from ..engine.tiled import Progress
from ..engine.upscaling import Upscaling, prepare
from ..errors import VideoError
from .encoder import Encoder, Format
from .pyav import pyav
from .remux import dry_run, remux
from .segments import EncodedFrame, SegmentFolder, in_decoding_order
from .source import Clip, decoded, pixels, probe

SEGMENT = 120
"""Frames in a segment: what is lost at most when a run is stopped."""

BATCH_PIXELS = 2**20
"""Input pixels run at once on a device that gains by it; on a CPU, one frame is."""


@dataclass(frozen=True)
class Summary:
    """What was made of a video."""

    source_size: tuple[int, int]
    """(height, width) in pixels."""
    size: tuple[int, int]
    """(height, width) in pixels."""
    frames: int
    codec: str
    left_out: tuple[str, ...]
    """Streams that the container does not take, in words."""


def upscale_video(
    model: SpanPPDescriptor,
    source: Path,
    result: Path,
    size: Size | None = None,
    *,
    codec: str | None = None,
    crf: int | None = None,
    fractional: Fractional = "auto",
    tile: int | None = None,
    on_progress: Progress | None = None,
    segment: int = SEGMENT,
) -> Summary:
    """Upscales a video file; all of it but the picture is copied.

    Frames keep their times, depth, chroma and colour tags. Finished segments are kept in
    a hidden folder beside ``result`` until that is whole, so that a run that was stopped
    goes on where it was; ``result`` is replaced if it exists.

    Args:
        model: What `load` or `at_scale` returned.
        source: The file to read.
        result: The file to write: .mp4, .m4v, .mov, .mkv or .webm.
        size: Of the upright frames. None: by the scale the model is bound to, natively.
        codec: A name of `CODECS`; None for H.264, or VP9 in .webm.
        crf: Constant quality of the codec; None for its default.
        fractional: How a fractional factor is reached, see `Fractional`.
        tile: As for `upscale`.
        on_progress: Called with the frames done and in all (an estimate where the file
            does not count them). Whatever it raises stops the run.
        segment: Frames in a segment.

    Raises:
        VideoError: A file cannot be read or written.
        MissingPackageError: PyAV is not installed.
        ScaleError: The size is more than 8 times the input.
        MemoryError: As for `upscale`.
    """
    clip = probe(source)
    frame = (clip.height, clip.width)
    run = prepare(model, frame, size, fractional=fractional, tile=tile)
    form = Format.of(clip, *run.output_size, codec, crf, result)
    settings = {
        "source and model": fingerprint(model, source),
        "size": [*run.output_size, *run.output.picture, run.scale],
        "run": [fractional, tile, segment, model.backend],
        "codec": [form.codec, dict(form.options)],
        "av": pyav().__version__,
    }
    segments = SegmentFolder(result)
    kept: Mapping[str, Any] | None = segments.resume(settings)
    if kept is None:
        # free memory and what is installed may differ next time
        work = clip.frames * clip.height * clip.width
        backend = chosen(run.view.model, model.backend, work)
        kept = {"tile": run.tile, "backend": backend}
        segments.begin(settings, kept)
    model = model.with_backend(kept["backend"])
    run = prepare(model, frame, size, fractional=fractional, tile=int(kept["tile"]))
    frames = _Frames(run, clip, form, on_progress)
    whole = segments.folder / f"whole{result.suffix}"
    try:
        left_out = dry_run(whole, clip, form)
        count = frames.segments(segments, segment)
    except VideoError:
        segments.remove()  # it would end the same way the next time
        raise
    packets = in_decoding_order(segments, -(-count // segment))
    remux(whole, clip, form, packets)
    whole.replace(result)
    segments.remove()
    return Summary(frame, (form.height, form.width), count, form.codec, left_out)


@dataclass(frozen=True)
class _Frames:
    """The frames of one clip on their way through the network."""

    run: Upscaling
    clip: Clip
    form: Format
    on_progress: Progress | None

    def segments(self, segments: SegmentFolder, size: int) -> int:
        """Makes the segments that are missing; returns the frames in all."""
        frames = decoded(self.clip)
        # decoding again what is finished is exact in every file, and seeking is not
        count = sum(1 for _ in islice(frames, segments.finished() * size))
        while (first := next(frames, None)) is not None:
            segment = islice(chain([first], frames), size)
            made = self._encoded(segment, count)
            segments.write(count // size, made)
            count += len(segments.times(count // size))
        return count

    def _encoded(
        self, frames: Iterator[tuple[int, int, Any]], before: int
    ) -> Iterator[EncodedFrame]:
        encoder = Encoder(self.form, self.clip)
        device = self.run.device
        batch = 1
        if device.type != "cpu":
            batch = max(1, BATCH_PIXELS // (self.clip.height * self.clip.width))
        while several := list(islice(frames, batch)):
            images = [pixels(self.clip, frame, device) for _, _, frame in several]
            results = self.run.run(torch.cat(images))
            for (pts, duration, _), rgb in zip(several, results):
                yield from encoder.encode(pts, duration, rgb[None])
            before += len(several)
            if self.on_progress is not None:
                self.on_progress(before, max(before, self.clip.frames))
        yield from encoder.finish()


def fingerprint(model: SpanPPDescriptor, source: Path) -> str:
    """Names a source and the weights, dtype and device that it is to be upscaled with."""
    status = source.stat()
    digest = hashlib.sha256(
        f"{source.resolve()} {status.st_size} {status.st_mtime_ns}"
        f" {model.dtype} {model.device}".encode()
    )
    for name, weight in sorted(model.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
