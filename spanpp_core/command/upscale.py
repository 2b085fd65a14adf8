"""``spanpp upscale``: image files and folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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
from ..engine.target import Method, Target, upscale_to
from . import images


class Precision(str, Enum):
    """Names of dtypes, as people type them."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the network's convolutions."""
        names = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
        return getattr(torch, names[self.value])


class Fractional(str, Enum):
    """How a fractional factor is reached; see `Method`."""

    downscale = "downscale"
    native = "native"


@dataclass(frozen=True)
class Job:
    """One file to read and the file to write."""

    source: Path
    result: Path


def upscale(
    inputs: Annotated[list[Path], typer.Argument(help="Image files and folders.")],
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
    width: Annotated[int | None, typer.Option(help="Width of the result, px.")] = None,
    height: Annotated[
        int | None, typer.Option(help="Height of the result, px.")
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
    precision: Annotated[Precision, typer.Option(help="Of the arithmetic.")] = (
        Precision.fp32
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing results.")
    ] = False,
) -> int:
    """Upscale image files and folders.

    Results keep their names and formats, alpha, bit depth and colour profile. A file
    that can not be done is reported and skipped; the exit status is then 1.
    """
    sized = _target(scale, fit, width, height)
    network = load(
        model or bundled_model(),
        device=_device(device),
        dtype=precision.dtype,
    )
    jobs = list(_jobs(inputs, out))
    console = Console(stderr=True)
    failed = 0
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        files = progress.add_task("images", total=len(jobs))
        tiles = progress.add_task("tiles")
        for job in jobs:
            if job.result.exists() and not overwrite:
                console.print(f"{job.result} exists, left as it is", soft_wrap=True)
            else:
                progress.reset(tiles, description=job.source.name)
                try:
                    line = _upscale_file(
                        network,
                        job,
                        sized or (lambda h, w: Target.by_factor(h, w, network.scale)),
                        fractional.value,
                        tile,
                        lambda done, total: progress.update(
                            tiles, completed=done, total=total
                        ),
                    )
                    console.print(line, soft_wrap=True)
                except (ValueError, MemoryError, OSError) as error:
                    failed += 1
                    console.print(f"spanpp: {error}", soft_wrap=True, style="red")
            progress.advance(files)
    return 1 if failed else 0


def _upscale_file(
    network: SpanPPDescriptor,
    job: Job,
    sized: Callable[[int, int], Target],
    method: Method,
    tile: int | None,
    on_progress: Callable[[int, int], None],
) -> str:
    """Upscales one file and returns the line to print."""
    height, width, channels = images.size(job.source)
    target = sized(height, width)
    pixels = height * width + target.height * target.width
    if pixels * channels * 4 > free_memory(torch.device("cpu")):
        raise MemoryError(
            f"{job.source}: {target.width}x{target.height} pixels do not fit into"
            " memory; ask for a smaller scale"
        )
    job.result.parent.mkdir(parents=True, exist_ok=True)
    picture = images.read(job.source)
    try:
        result = upscale_to(
            network,
            picture.pixels,
            target,
            method=method,
            tile=tile,
            on_progress=on_progress,
        )
    except (ValueError, MemoryError) as error:
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
        return lambda h, w: Target.by_factor(h, w, scale)
    if fit is not None:
        box = re.fullmatch(r"(\d+)x(\d+)", fit)
        if box is None:
            raise ValueError(f"--fit {fit} is not a size; give one like 3840x2160")
        return lambda h, w: Target.fit(h, w, int(box[1]), int(box[2]))
    if width is not None:
        return lambda h, w: Target.by_width(h, w, width)
    if height is not None:
        return lambda h, w: Target.by_height(h, w, height)
    return None


def _jobs(inputs: list[Path], out: Path) -> Iterator[Job]:
    """Pairs every input with its result; folders keep their structure.

    Two inputs that would write the same file are an error, found before the first runs.
    """
    if (
        len(inputs) == 1
        and inputs[0].is_file()
        and out.suffix.lower() in images.WRITABLE
    ):
        yield Job(inputs[0], out)
        return
    taken: dict[Path, Path] = {}
    for given in inputs:
        for path, name in _images_in(given, out):
            result = out / name
            if result in taken:
                raise ValueError(
                    f"{path} and {taken[result]} would both be written to {result};"
                    " upscale them into two folders"
                )
            taken[result] = path
            yield Job(path, result)


def _images_in(given: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """Yields images and their names below the folder to write to."""
    if not given.is_dir():
        yield given, Path(given.name)
        return
    written = out.resolve()
    for path in sorted(given.rglob("*")):
        inside = written in path.resolve().parents and written != given.resolve()
        hidden = any(part.startswith(".") for part in path.relative_to(given).parts)
        if path.suffix.lower() in images.READABLE and not inside and not hidden:
            yield path, path.relative_to(given)


def _device(name: str | None) -> torch.device:
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        mps = torch.backends.mps.is_available()
        return torch.device("mps" if mps else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {name} can not be used here ({reason})") from error
    return device
