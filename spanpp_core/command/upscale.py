"""``spanpp upscale``: files and folders of images and videos."""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from ..descriptor import SpanPPDescriptor, bundled_model, load
from ..engine.memory import free_memory
from ..engine.precision import fastest_dtype
from ..engine.target import Method, Target, upscale_to
from ..errors import ScaleError
from ..network.scale import MAX_SCALE, output_size
from ..video import CODECS, WRITABLE
from . import images
from .videos import Job, is_video, upscale_video_file


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


class By(str, Enum):
    """What runs the network; see `Backend`."""

    auto = "auto"
    torch = "torch"
    compile = "compile"
    openvino = "openvino"


class Fractional(str, Enum):
    """How a fractional factor is reached; see `Method`."""

    downscale = "downscale"
    native = "native"


def upscale(
    inputs: Annotated[
        list[Path], typer.Argument(help="Images, videos and folders of them.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write to, or a file for one.")
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="Checkpoint; bundled if absent."),
    ] = None,
    scale: Annotated[
        float | None, typer.Option("--scale", "-s", help="Factor, up to 8; 2.5 works.")
    ] = None,
    fit: Annotated[
        str | None, typer.Option(help="Largest size within WIDTHxHEIGHT pixels.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Width of the result, px.")
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=1, help="Height of the result, px.")
    ] = None,
    fractional: Annotated[
        Fractional,
        typer.Option(
            help="Fractional factors: downscale from the next whole scale, or native."
        ),
    ] = Fractional.downscale,
    tile: Annotated[
        int | None,
        typer.Option(min=16, help="Tile edge, px; from free memory if absent."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps; the fastest if absent.")
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="Of the arithmetic; auto: the fastest not seen in 8 bits."),
    ] = Precision.auto,
    backend: Annotated[
        By, typer.Option(help="What runs the network; auto: the fastest installed.")
    ] = By.auto,
    codec: Annotated[
        str | None,
        typer.Option(help=f"Of videos: {', '.join(CODECS)}; fits the file if absent."),
    ] = None,
    crf: Annotated[
        int | None,
        typer.Option(min=0, max=63, help="Quality of videos; lower is better."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing results.")
    ] = False,
) -> int:
    """Upscale images and videos.

    Results keep their names and formats, alpha, bit depth and colour profile; videos
    their sound and times. A video that was stopped goes on where it was. A file that
    can not be done is reported and skipped; the exit status is then 1.
    """
    sized = _target(scale, fit, width, height)
    jobs = _jobs(inputs, out)
    network = load(model or bundled_model(), device=_device(device))
    network = network.with_backend(backend.value)
    in_dtype = functools.cache(network.with_dtype)  # or each image compiles its own

    def by_own_scale(h: int, w: int) -> Target:
        return Target.by_factor(h, w, network.scale)

    to = sized or by_own_scale
    console = Console(stderr=True, markup=False, highlight=False)
    failed = 0
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        files = progress.add_task("files", total=len(jobs))
        parts = progress.add_task("tiles")  # or frames

        def report(done: int, total: int) -> None:
            progress.update(parts, completed=done, total=total)

        for job in jobs:
            if job.result.exists() and not overwrite:
                console.print(f"{job.result} exists, left as it is", soft_wrap=True)
            else:
                progress.reset(parts, description=job.source.name)
                method = fractional.value
                try:
                    if is_video(job.source):
                        cast = in_dtype(precision.dtype(network.device, 8))
                        line = upscale_video_file(
                            cast, job, to, method, tile, codec, crf, report
                        )
                    else:
                        line = _upscale_image(
                            network, in_dtype, precision, job, to, method, tile, report
                        )
                    console.print(line, soft_wrap=True)
                except (ValueError, MemoryError, OSError, RuntimeError) as error:
                    failed += 1
                    reason = next(iter(str(error).splitlines()), type(error).__name__)
                    console.print(f"spanpp: {reason}", soft_wrap=True, style="red")
            progress.advance(files)
    return 1 if failed else 0


def _upscale_image(
    network: SpanPPDescriptor,
    in_dtype: Callable[[torch.dtype], SpanPPDescriptor],
    precision: Precision,
    job: Job,
    sized: Callable[[int, int], Target],
    method: Method,
    tile: int | None,
    on_progress: Callable[[int, int], None],
) -> str:
    """Upscales one image and returns the line to print."""
    height, width, channels = images.size(job.source)
    job.check()
    try:
        target = sized(height, width)
        made = output_size(height, width, target.scale(network.scales, method))
        pixels = height * width + math.prod(made) + target.height * target.width
        if pixels * channels * 4 > free_memory(torch.device("cpu")):
            raise MemoryError(
                f"{target.width}x{target.height} pixels do not fit into memory; ask for"
                " a smaller scale"
            )
        images.check_writable(job.result, target.height, target.width)
        job.result.parent.mkdir(parents=True, exist_ok=True)
        picture = images.read(job.source)
        result = upscale_to(
            in_dtype(precision.dtype(network.device, picture.bits)),
            picture.pixels,
            target,
            method=method,
            tile=tile,
            on_progress=on_progress,
        )
    except (ScaleError, MemoryError) as error:
        raise type(error)(f"{job.source}: {error}") from error
    images.write(job.result, replace(picture, pixels=result))
    return (
        f"{job.source} {width}x{height} -> {job.result} {target.width}x{target.height}"
    )


def _target(
    scale: float | None, fit: str | None, width: int | None, height: int | None
) -> Callable[[int, int], Target] | None:
    """Returns how to size a result, or None for the model's own scale."""
    given = [value for value in (scale, fit, width, height) if value is not None]
    if len(given) > 1:
        raise ValueError("give one of --scale, --fit, --width and --height, not more")
    if scale is not None:
        if not 0 < scale <= MAX_SCALE:
            raise ValueError(f"--scale {scale:g}: give a number above 0, up to 8")
        return lambda h, w: Target.by_factor(h, w, scale)
    if fit is not None:
        box = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", fit)
        if box is None:
            raise ValueError(f"--fit {fit} is not a size; give one like 3840x2160")
        return lambda h, w: Target.fit(h, w, int(box[1]), int(box[2]))
    if width is not None:
        return lambda h, w: Target.by_width(h, w, width)
    if height is not None:
        return lambda h, w: Target.by_height(h, w, height)
    return None


def _jobs(inputs: list[Path], out: Path) -> list[Job]:
    """Pairs every input with its result; folders keep their structure.

    Raises:
        ValueError: Two inputs would write the same file, or there is nothing to do.
    """
    if out.suffix.lower() in (*images.READABLE, *WRITABLE) and not out.is_dir():
        if len(inputs) == 1 and not inputs[0].is_dir():
            return [Job(inputs[0], out)]
        raise ValueError(f"--out {out} is one file; give a folder for several files")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder, or a file's name")
    taken: dict[Path, Path] = {}
    for given in dict.fromkeys(inputs):
        for path, name in _files_in(given, out):
            result = out / name
            if taken.setdefault(result, path) != path:
                raise ValueError(
                    f"{path} and {taken[result]} would both be written to {result};"
                    " upscale them into two folders"
                )
    if not taken:
        raise ValueError(f"no images or videos in {', '.join(map(str, inputs))}")
    return [Job(source, result) for result, source in taken.items()]


def _files_in(given: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """Yields images and videos, and their names below the folder to write to."""
    if not given.is_dir():
        yield given, _result_name(Path(given.name))
        return
    written = os.path.realpath(out)  # unlike Path.resolve, it survives circular links
    apart = written != os.path.realpath(given)
    for path in sorted(given.rglob("*")):
        name = path.relative_to(given)
        inside = apart and Path(written) in Path(os.path.realpath(path)).parents
        hidden = any(part.startswith(".") for part in name.parts)
        kind = path.suffix.lower() in images.READABLE or is_video(path)
        if kind and not path.is_dir() and not inside and not hidden:
            yield path, _result_name(name)


def _result_name(name: Path) -> Path:
    """The name to write under: videos of a kind that is not written become .mkv."""
    if is_video(name) and name.suffix.lower() not in WRITABLE:
        return name.with_suffix(".mkv")
    return name


def _device(name: str | None) -> torch.device:
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
