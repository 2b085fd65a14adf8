"""One file to one file: what is done with each, by the command or a worker of it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from enum import Enum

import torch

from ..backends import Backend
from ..descriptor import SpanPPDescriptor
from ..engine.memory import free_memory
from ..engine.precision import fastest_dtype
from ..engine.run import Progress
from ..engine.target import Method, Target, upscale_to
from ..errors import ScaleError
from ..network.scale import output_size
from . import images
from .jobs import Job, is_video
from .videos import upscale_video_file

FAILURES = (ValueError, MemoryError, OSError, RuntimeError)
"""What one file may raise without ending the work on the others."""


class Precision(str, Enum):
    """Names of dtypes, as people type them."""

    auto = "auto"
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"

    def dtype(self, device: torch.device, bits: int) -> torch.dtype:
        """The dtype to run in on a device, for images of 8 or 16 bits per channel.

        What no one sees in 8 bits would still be there in 16: those are float32.
        """
        if self is Precision.auto:
            return torch.float32 if bits == 16 else fastest_dtype(device)
        names = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
        return getattr(torch, names[self.value])


@dataclass(frozen=True)
class Size:
    """The size wanted, by at most one of these; by the model's own scale if by none."""

    scale: float | None = None
    box: tuple[int, int] | None = None
    """Width and height in pixels."""
    width: int | None = None
    height: int | None = None

    def of(self, height: int, width: int, own_scale: float) -> Target:
        """Returns the size of the result for an input of ``height`` x ``width``."""
        if self.box is not None:
            return Target.fit(height, width, *self.box)
        if self.width is not None:
            return Target.by_width(height, width, self.width)
        if self.height is not None:
            return Target.by_height(height, width, self.height)
        factor = own_scale if self.scale is None else self.scale
        return Target.by_factor(height, width, factor)


@dataclass(frozen=True)
class Settings:
    """What every file is upscaled with; see the options of the command."""

    size: Size
    method: Method
    tile: int | None
    precision: Precision
    codec: str | None
    crf: int | None
    overwrite: bool
    backend: Backend = "auto"


@dataclass(frozen=True)
class Outcome:
    """What became of a file, in one line."""

    line: str
    failed: bool


class Upscaler:
    """A model and what files are upscaled with; it is cast once for each precision."""

    def __init__(self, network: SpanPPDescriptor, settings: Settings) -> None:
        self._network = network.with_backend(settings.backend)
        self._settings = settings
        self._cast = functools.cache(self._network.with_dtype)

    def file(self, job: Job, on_progress: Progress) -> Outcome:
        """Upscales an image or a video; a result that is there is left as it is."""
        if job.result.exists() and not self._settings.overwrite:
            return already_there(job.result)
        run = self._video if is_video(job.source) else self._image
        try:
            return Outcome(run(job, on_progress), failed=False)
        except FAILURES as error:
            return failure(error)

    def _sized(self, height: int, width: int) -> Target:
        return self._settings.size.of(height, width, self._network.scale)

    def _in(self, bits: int) -> SpanPPDescriptor:
        return self._cast(self._settings.precision.dtype(self._network.device, bits))

    def _video(self, job: Job, on_progress: Progress) -> str:
        return upscale_video_file(
            self._in(8),
            job,
            self._sized,
            self._settings.method,
            self._settings.tile,
            self._settings.codec,
            self._settings.crf,
            on_progress,
        )

    def _image(self, job: Job, on_progress: Progress) -> str:
        height, width, channels = images.size(job.source)
        job.check()
        method = self._settings.method
        try:
            target = self._sized(height, width)
            made = output_size(
                height, width, target.scale(self._network.scales, method)
            )
            pixels = height * width + math.prod(made) + target.height * target.width
            if pixels * channels * 4 > free_memory(torch.device("cpu")):
                raise MemoryError(
                    f"{target.width}x{target.height} pixels do not fit into memory; ask"
                    " for a smaller scale"
                )
            images.check_writable(job.result, target.height, target.width)
            job.result.parent.mkdir(parents=True, exist_ok=True)
            picture = images.read(job.source)
            result = upscale_to(
                self._in(picture.bits),
                picture.pixels,
                target,
                method=method,
                tile=self._settings.tile,
                on_progress=on_progress,
            )
        except (ScaleError, MemoryError) as error:
            raise type(error)(f"{job.source}: {error}") from error
        images.write(job.result, replace(picture, pixels=result))
        return (
            f"{job.source} {width}x{height} -> {job.result}"
            f" {target.width}x{target.height}"
        )


def already_there(result: object) -> Outcome:
    """The outcome where a result exists."""
    return Outcome(f"{result} exists, left as it is", failed=False)


def failure(error: Exception) -> Outcome:
    """The outcome where an error was raised."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return Outcome(f"spanpp: {reason}", failed=True)


def device_named(name: str | None) -> torch.device:
    """Returns a device, or the fastest where none is named.

    Raises:
        ValueError: It can not be used here.
    """
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        mps = torch.backends.mps.is_available()
        return torch.device("mps" if mps else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).sum().item()  # on "meta" there is nothing to sum
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {name} can not be used here ({reason})") from error
    return device
