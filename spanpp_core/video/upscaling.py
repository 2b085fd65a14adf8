"""A video upscaled frame by frame, in the memory of a few frames; it can be resumed.

Three threads work side by side: one decodes, the caller's runs the network, one encodes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from itertools import count as count_from
from pathlib import Path
from typing import Any

import torch

from ..descriptor import SpanPPDescriptor
from ..engine.prepared_run import Upscaling
from ..engine.size import Fractional, Size
from ..engine.tiled import Progress
from ..engine.transfer import Handover, copy_streams, on_stream
from ..engine.upscaling import prepare
from ..errors import VideoError
from ..network.autocast import autocast_disabled
from .decoder import decoded, pixels
from .encoder import Encoder, Format
from .pyav import pyav
from .remux import dry_run, remux
from .segments import EncodedFrame, SegmentFolder, in_decoding_order
from .source import Clip, probe
from .stages import ahead, behind

QUEUED_FRAMES = 2
"""Decoded frames that wait for the network."""

QUEUED_RESULTS = 1
"""Upscaled frames that wait for the encoder: each is large."""

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
    source: str | os.PathLike[str],
    result: str | os.PathLike[str],
    size: Size | None = None,
    *,
    codec: str | None = None,
    crf: int | None = None,
    fractional: Fractional = "auto",
    tile: int | None = None,
    on_progress: Progress | None = None,
    segment: int = SEGMENT,
    b_frames: bool = True,
    start: float = 0,
    end: float | None = None,
    free: int | None = None,
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
        b_frames: Whether the encoder may store frames in another order than shown, which
            makes files smaller. Some programs lose such frames in .mkv.
        start: Where to begin in ``source``, in seconds: of frames and sound.
        end: Where to end, in its seconds; None for its end.
        free: As for `Upscaling.with_free_memory`.

    Raises:
        VideoError: A file cannot be read or written, has no frames in this part, or is
            being written by another run.
        MissingPackageError: PyAV is not installed.
        ScaleError: The size is more than 8 times the input.
        MemoryError: As for `upscale`.
    """
    source, result = Path(source), Path(result)
    if result.is_dir():
        raise VideoError(f"{result} is a folder; choose another name for the result")
    clip = probe(source, start, end)
    frame = (clip.height, clip.width)
    run = prepare(model, frame, size, fractional=fractional, tile=tile)
    run = run.with_free_memory(free)
    form = Format.of(clip, *run.output_size, codec, crf, result, b_frames=b_frames)
    settings = {
        "source and model": fingerprint(model, source),
        "size": [*run.output_size, *run.output.picture, run.scale],
        "run": [fractional, tile, segment, model.backend],
        "codec": [form.codec, dict(form.options)],
        "cut": [start, end],
        "av": pyav().__version__,
    }
    segments = SegmentFolder(result)
    with segments.kept_from_others():
        kept: Mapping[str, Any] | None = segments.resume(settings)
        if kept is None:
            # free memory and what is installed may differ next time
            work = clip.frames * clip.height * clip.width
            with autocast_disabled(model.device.type):
                backend = model.backends.usable(run.view.model, model.backend, work)
            kept = {"tile": run.tile, "backend": backend}
            segments.begin(settings, kept)
        model = model.with_backend(kept["backend"])
        run = prepare(model, frame, size, fractional=fractional, tile=int(kept["tile"]))
        run = run.with_free_memory(free)
        frames = _Frames(run, clip, form, on_progress)
        whole = segments.folder / f"whole{result.suffix}"
        try:
            left_out = dry_run(whole, clip, form)
            count = frames.segments(segments, segment)
            if not count:
                raise VideoError(
                    f"{source}: has no frames from {float(start):g} s to"
                    f" {'its end' if end is None else f'{float(end):g} s'}"
                )
        except VideoError:
            segments.remove()  # it would end the same way the next time
            raise
        packets = in_decoding_order(segments, -(-count // segment))
        remux(whole, clip, form, packets)
        whole.replace(result)
        segments.remove()
    return Summary(frame, (form.height, form.width), count, form.codec, left_out)


@dataclass(frozen=True)
class _Frame:
    """A frame on its way from one thread to the next."""

    pts: int
    duration: int
    image: Handover
    """(1, 3, H, W) in [0, 1], on the device."""


@dataclass(frozen=True)
class _Frames:
    """The frames of one clip on their way through the network."""

    run: Upscaling
    clip: Clip
    form: Format
    on_progress: Progress | None

    def segments(self, segments: SegmentFolder, size: int) -> int:
        """Makes the segments that are missing; returns the frames in all.

        When a run is stopped, the segments whose frames are all made are still written.
        """
        finished = segments.finished()
        count = sum(len(segments.times(index)) for index in range(finished))
        decode = ahead(self._decoded(count), QUEUED_FRAMES)
        encode = behind(partial(self._write, segments, finished, size), QUEUED_RESULTS)
        with decode as frames, encode as put:
            for done in self._upscaled(frames, put):
                count += done
                if self.on_progress is not None:
                    self.on_progress(count, max(count, self.clip.frames))
        return count

    def _decoded(self, skip: int) -> Generator[_Frame]:
        """Yields the frames behind the first ones; in a thread of its own."""
        device = self.run.device
        streams = copy_streams(device)
        # decoding again what is finished is exact in every file, and seeking is not
        for pts, duration, frame in islice(decoded(self.clip), skip, None):
            with on_stream(streams and streams.into):
                image = Handover.of(pixels(self.clip, frame, device))
            yield _Frame(pts, duration, image)

    def _upscaled(
        self, frames: Iterator[_Frame], put: Callable[[_Frame], None]
    ) -> Iterator[int]:
        """Runs the network batch by batch; yields how many frames it has put."""
        batch = 1
        if self.run.device.type != "cpu":
            batch = max(1, BATCH_PIXELS // (self.clip.height * self.clip.width))
        run = self.run.run if self.clip.most > 1 else self.run.run_in_range
        while several := list(islice(frames, batch)):
            images = [frame.image.received() for frame in several]
            several_images = images[0] if len(images) == 1 else torch.cat(images)
            results = run(several_images)
            for frame, rgb in zip(several, results):
                put(replace(frame, image=Handover.of(rgb[None])))
            yield len(several)

    def _write(
        self, segments: SegmentFolder, index: int, size: int, frames: Iterator[_Frame]
    ) -> None:
        """Writes segments from one on; in a thread of its own."""
        for number in count_from(index):
            first = next(frames, None)
            if first is None:
                return
            segment = islice(chain([first], frames), size)
            segments.write(number, self._encoded(segment))

    def _encoded(self, frames: Iterator[_Frame]) -> Iterator[EncodedFrame]:
        encoder = Encoder(self.form, self.clip)
        streams = copy_streams(self.run.device)
        for frame in frames:
            with on_stream(streams and streams.out):
                planes = self.form.planes(frame.image.received())
            yield from encoder.encode(frame.pts, frame.duration, planes)
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
