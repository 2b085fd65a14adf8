"""``spanpp upscale``: files and folders of images and videos."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from ..backends import Backend
from ..batch import cluster
from ..batch.pairs import Pair, pairs
from ..batch.stores import is_url
from ..batch.upscaler import Outcome, Precision, Settings, Upscaler, device_named
from ..checkpoint import read
from ..descriptor import bundled_model, load
from ..engine.size import Fractional, Size, parse_factor
from ..network.scale import MAX_SCALE
from ..video import CODECS


def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Images, videos and folders of them; with --ray also s3://, gs://."
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder to write to, or a file for one.")
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="Checkpoint; bundled if absent."),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option("--scale", "-s", help="Factor up to 8, such as 2, 2.5 or 8/3."),
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
    ] = "downscale",
    tile: Annotated[
        int | None,
        typer.Option(min=16, help="Tile edge, px; from free memory if absent."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps; the fastest if absent.")
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Number format of the network; auto: the fastest whose rounding 8-bit"
            " images do not show."
        ),
    ] = "auto",
    backend: Annotated[
        Backend,
        typer.Option(help="What runs the network; auto: the fastest installed."),
    ] = "auto",
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
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Spread the files over a Ray cluster; a running one or a new one here"
            " if no address follows.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --ray: processes; from its resources if absent."
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(min=0, help="With --ray: 1 if absent; 0.5: two share one."),
    ] = None,
) -> int:
    """Upscale images and videos.

    Results keep their names and formats, alpha, bit depth and colour profile; videos
    their sound and times. A video that was stopped goes on where it was. A file that
    cannot be done is reported and skipped; the exit status is then 1.
    """
    if ray is None and (workers or gpus_per_worker):
        raise ValueError("--workers and --gpus-per-worker need --ray")
    settings = Settings(
        _size(scale, fit, width, height),
        fractional,
        tile,
        precision,
        codec,
        crf,
        overwrite,
        backend,
    )
    if ray is None and any(map(is_url, (*inputs, out))):
        raise ValueError("URLs of stores are read and written with --ray only")
    work = pairs(inputs, out)
    if ray is None:
        network = load(model or bundled_model(), device=device_named(device))
        return _here(Upscaler(network, settings), work)
    weights = read(model or bundled_model()).state_dict
    pool = cluster.Pool(workers, gpus_per_worker, device)
    return _on_ray(cluster.outcomes(ray, pool, weights, work, settings), len(work))


def _here(upscaler: Upscaler, work: list[tuple[str, str]]) -> int:
    """Does the work in this process; returns the exit status."""
    failed = 0
    with _progress() as progress:
        files = progress.add_task("files", total=len(work))
        parts = progress.add_task("tiles")  # or frames

        def report(done: int, total: int) -> None:
            progress.update(parts, completed=done, total=total)

        for source, result in work:
            pair = Pair(Path(source), Path(result))
            progress.reset(parts, description=pair.source.name)
            outcome = upscaler.file(pair, report)
            failed += outcome.failed
            _print(progress, outcome)
            progress.advance(files)
    return 1 if failed else 0


def _on_ray(outcomes: Iterator[Outcome], total: int) -> int:
    """Reports what workers did; returns the exit status."""
    failed = 0
    with _progress() as progress:
        files = progress.add_task("files", total=total)
        for outcome in outcomes:
            failed += outcome.failed
            _print(progress, outcome)
            progress.advance(files)
    return 1 if failed else 0


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, markup=False, highlight=False),
        transient=True,
    )


def _print(progress: Progress, outcome: Outcome) -> None:
    style = "red" if outcome.failed else None
    progress.console.print(outcome.line, soft_wrap=True, style=style)


def _size(
    scale: str | None, fit: str | None, width: int | None, height: int | None
) -> Size:
    """Returns the size wanted, from at most one of these options."""
    given = [value for value in (scale, fit, width, height) if value is not None]
    if len(given) > 1:
        raise ValueError("give one of --scale, --fit, --width and --height, not more")
    if scale is not None:
        factor = parse_factor(scale)
        if factor > MAX_SCALE:
            raise ValueError(f"--scale {scale}: give a number above 0, up to 8")
        return Size(factor)
    if fit is None:
        return Size(width=width, height=height)
    box = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", fit)
    if box is None:
        raise ValueError(f"--fit {fit} is not a size; give one like 3840x2160")
    return Size(fit=(int(box[1]), int(box[2])))
