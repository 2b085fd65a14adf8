"""Programs that play such files, and what each expects of a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from ..errors import ExportError
from .planned_file import STEM, ExportOptions, WeightPrecision

ProgramName = Literal["upscayl", "vs-mlrt", "video2x", "animejanai"]


class Request(NamedTuple):
    """What `spanpp_core.export.export` is asked for."""

    formats: list[str]
    scales: list[float]
    options: ExportOptions


@dataclass(frozen=True)
class Program:
    """A program, and the files that it takes."""

    title: str
    format: str
    scales: tuple[int, ...]
    """What is exported if no scale is asked for."""
    largest: int
    """The largest scale it takes."""
    precision: WeightPrecision
    hint: str
    """Where the files go, in one line."""
    stem: str = STEM
    """What it wants files to be called."""


PROGRAMS: dict[ProgramName, Program] = {
    "upscayl": Program(
        "Upscayl",
        "ncnn",
        (4,),
        4,
        "fp16",
        "Upscayl: put them into a folder named models, Settings, Add custom models",
        "{name}-{scale}x",
    ),
    "vs-mlrt": Program(
        "vs-mlrt",
        "onnx",
        (2,),
        8,
        "fp32",
        "vs-mlrt: vsmlrt.inference(clip, FILE, overlap=(21, 21))",
    ),
    "video2x": Program(
        "Video2X",
        "ncnn",
        (2, 3, 4),
        4,
        "fp16",
        "Video2X: put them into models/realesrgan below the folder it is started in, and"
        " choose -p realesrgan --realesrgan-model realesrgan-plus -s 2",
        "realesrgan-plus-x{scale}",  # it takes no other names
    ),
    "animejanai": Program(
        "mpv-AnimeJaNai",
        "onnx-span",
        (2,),
        4,
        "fp16",
        "mpv-AnimeJaNai: put it into animejanai/onnx, and choose it in the manager",
        "{scale}x_{name}{half}",
    ),
}
"""The programs by the names people type."""


def request(
    name: ProgramName, scales: Sequence[float], options: ExportOptions
) -> Request:
    """Returns what to export for a program.

    Args:
        name: One of `PROGRAMS`.
        scales: The scales asked for; the program's own if there are none.
        options: How to make the files; the names are the program's.

    Raises:
        ExportError: The program does not take a scale.
    """
    program = PROGRAMS[name]
    for scale in scales:
        if not float(scale).is_integer() or scale > program.largest:
            near = {math.floor(scale), math.ceil(scale)}
            near = {min(max(each, 1), program.largest) for each in near}
            words = " or ".join(f"x{each}" for each in sorted(near))
            raise ExportError(
                f"{program.title} takes whole scales up to x{program.largest}, not"
                f" x{scale:g}; choose {words}"
            )
    wanted = [float(scale) for scale in scales or program.scales]
    return Request([program.format], wanted, replace(options, stem=program.stem))
