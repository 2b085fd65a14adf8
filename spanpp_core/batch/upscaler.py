"""Upscales one file to one file, in this process or in a worker of a cluster."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from .. import images
from ..backends import Backend
from ..descriptor import SpanPPDescriptor
from ..engine.memory import free_memory
from ..engine.precision import fastest_dtype, fitting_dtype
from ..engine.prepared_run import Upscaling
from ..engine.size import Fractional, Size
from ..engine.tiled import Progress
from ..engine.upscaling import prepare
from ..errors import (
    BatchError,
    ImageError,
    MissingPackageError,
    VideoError,
    first_line,
)
from ..video import Summary, upscale_video
from .pairs import Pair, is_video

FAILURES = (ValueError, MemoryError, OSError, RuntimeError)
"""Errors of one file that do not stop the work on the others."""

_NAMES_THE_FILE = (ImageError, VideoError, BatchError, MissingPackageError)
"""Those whose message says which file, or that concern no single one."""

Precision = Literal["auto", "fp32", "fp16", "bf16"]
"""
The dtype to run in. "auto": float32 for images of 16 bits per channel; for 8 bits, the
fastest dtype of the device whose result stays within 2/255 of float32.
"""

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class UpscaleOptions:
    """How files are upscaled: the options of ``spanpp upscale``, and what a host knows."""

    size: Size
    fractional: Fractional = "auto"
    tile: int | None = None
    precision: Precision = "auto"
    codec: str | None = None
    crf: int | None = None
    overwrite: bool = False
    backend: Backend = "auto"
    fastest: torch.dtype | None = None
    """What "auto" runs images of 8 bits in; None: what the device is fastest in."""
    free: int | None = None
    """As for `Upscaling.with_free_memory`."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one file, as one line."""

    line: str
    failed: bool
    was_there: bool = False
    """Whether the result existed, and was left as it is."""


class Upscaler:
    """A model and the options to upscale files with."""

    def __init__(self, model: SpanPPDescriptor, options: UpscaleOptions) -> None:
        self._model = model.with_backend(options.backend)
        self._options = options

    def file(self, pair: Pair, on_progress: Progress) -> Outcome:
        """Upscales an image or a video; an existing result is left as it is."""
        try:
            pair.check()
            if pair.result.exists() and not self._options.overwrite:
                return already_there(pair.result)
            run = self._video if is_video(pair.source) else self._image
            return Outcome(run(pair, on_progress), failed=False)
        except FAILURES as error:
            named = isinstance(error, _NAMES_THE_FILE) or getattr(
                error, "filename", None
            )
            return failure(error, None if named else pair.source)

    def _at_depth(self, bits: int) -> SpanPPDescriptor:
        """Returns the model in the dtype for images of ``bits`` bits per channel."""
        precision = self._options.precision
        if precision != "auto":
            return self._model.with_dtype(DTYPES[precision])
        if bits > 8:
            return self._model.with_dtype(torch.float32)
        fastest = self._options.fastest or fastest_dtype(self._model.device)
        return self._model.with_dtype(fitting_dtype(self._model, fastest))

    def _image(self, pair: Pair, on_progress: Progress) -> str:
        found = images.header(pair.source)
        run = prepare(
            self._at_depth(found.bits),
            (found.height, found.width),
            self._options.size,
            fractional=self._options.fractional,
            tile=self._options.tile,
        ).with_free_memory(self._options.free)
        # float images may run twice, see `engine.dynamic_range`
        _check_memory(run, found.channels * (2 if found.bits > 16 else 1))
        images.check_writable(pair.result, *run.output_size)
        pair.result.parent.mkdir(parents=True, exist_ok=True)
        picture = images.read(pair.source)
        upscale = run.run if picture.floating else run.run_in_range
        result = upscale(picture.pixels, on_progress=on_progress)
        images.write(pair.result, replace(picture, pixels=result))
        return _sizes(pair, run.input_size, run.output_size)

    def _video(self, pair: Pair, on_progress: Progress) -> str:
        pair.result.parent.mkdir(parents=True, exist_ok=True)
        made = upscale_video(
            self._at_depth(8),
            pair.source,
            pair.result,
            self._options.size,
            codec=self._options.codec,
            crf=self._options.crf,
            fractional=self._options.fractional,
            tile=self._options.tile,
            on_progress=on_progress,
            free=self._options.free,
        )
        return _described(pair, made)


def already_there(result: object) -> Outcome:
    """The outcome where a result exists."""
    return Outcome(f"{result} exists, left as it is", failed=False, was_there=True)


def failure(error: Exception, source: Path | None = None) -> Outcome:
    """The outcome where an error was raised.

    Args:
        error: What went wrong.
        source: The file, where the message does not name it.
    """
    logging.getLogger("spanpp").debug("where it arose:", exc_info=error)
    name = "" if source is None else f"{source}: "
    return Outcome(f"spanpp: {name}{first_line(error)}", failed=True)


def _check_memory(run: Upscaling, channels: int) -> None:
    """Checks that an image and its result fit into main memory, in float32."""
    sizes = [run.input_size, run.output_size]
    if not run.is_direct:
        sizes.append(run.made_size)
    pixels = sum(math.prod(size) for size in sizes)
    if pixels * channels * 4 > free_memory(torch.device("cpu")):
        height, width = run.output_size
        raise MemoryError(
            f"{width}x{height} pixels do not fit into memory; ask for a smaller scale"
        )


def _sizes(pair: Pair, before: tuple[int, int], after: tuple[int, int]) -> str:
    (height, width), (out_height, out_width) = before, after
    return f"{pair.source} {width}x{height} -> {pair.result} {out_width}x{out_height}"


def _described(pair: Pair, made: Summary) -> str:
    """The line to print for a video."""
    line = f"{_sizes(pair, made.source_size, made.size)}, {made.frames} frames"
    line += f", {made.codec}"
    if made.left_out:
        without = ", ".join(made.left_out)
        line += f"; without {without}, which {pair.result.suffix} does not hold"
    return line
