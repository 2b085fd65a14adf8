"""``spanpp upscale``: files and folders of images and videos."""

from __future__ import annotations

import os
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
from ..batch.places import Place
from ..batch.upscaler import Outcome, Precision, UpscaleOptions, Upscaler, device_named
from ..checkpoint import read
from ..descriptor import bundled_model, load
from ..engine.size import Fractional, Size, parse_factor
from ..errors import SizeError, SpanPPError
from ..video import CODECS


def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Images, videos and folders of them; with --ray also s3:// and gs://."
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", help="Folder to write to, or the name of one file."
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="Checkpoint; the bundled one by default."),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            "-s",
            help="Factor up to 8, such as 2, 2.5 or 8/3; by default the model's.",
        ),
    ] = None,
    fit: Annotated[
        str | None, typer.Option(help="The largest size within WIDTHxHEIGHT pixels.")
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            min=1, help="Width in pixels; with --height, the rest is cut off."
        ),
    ] = None,
    height: Annotated[int | None, typer.Option(min=1, help="Height in pixels.")] = None,
    longer_side: Annotated[
        int | None, typer.Option(min=1, help="Length of the longer side in pixels.")
    ] = None,
    megapixels: Annotated[
        float | None, typer.Option(help="Area in millions of pixels.")
    ] = None,
    multiple_of: Annotated[
        int,
        typer.Option(min=1, help="Cut both sides to a multiple of this, such as 8."),
    ] = 1,
    fractional: Annotated[
        Fractional,
        typer.Option(
            help="How a scale such as 2.5 is reached. native: in one pass, with a kernel"
            " for that very scale. downscale: by the next whole scale, then resized."
            " auto: native if the model was trained on fractional scales."
        ),
    ] = "auto",
    tile: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Side of the tiles in input pixels; by default as memory allows. The"
            " result is the same.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1, mps, ...; the fastest by default."),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Number format of the network. auto: the fastest of the device whose"
            " rounding stays within 1/255, and fp32 for 16-bit images."
        ),
    ] = "auto",
    backend: Annotated[
        Backend,
        typer.Option(help="What runs the network; auto: the fastest installed."),
    ] = "auto",
    codec: Annotated[
        str | None,
        typer.Option(help=f"Of videos: {', '.join(CODECS)}; by default as the file."),
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
            help="Spread the files over a Ray cluster: the one at an address, or one"
            " that runs here, or a new one.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --ray: how many; by default as the cluster allows."
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(min=0, help="With --ray: 1 by default; at 0.5 two share one."),
    ] = None,
) -> int:
    """Upscale images and videos.

    Results keep the name and format of their source. Images keep alpha, bit depth and
    colour profile, videos their sound and frame times. A video that was stopped is
    resumed. A file that cannot be upscaled is reported and skipped; the exit status is
    then 1.
    """
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 would print its settings
    if ray is None and (workers or gpus_per_worker):
        raise SpanPPError("--workers and --gpus-per-worker need --ray")
    settings = UpscaleOptions(
        Size(
            factor=None if scale is None else parse_factor(scale),
            fit=None if fit is None else _box(fit),
            width=width,
            height=height,
            longer_side=longer_side,
            megapixels=megapixels,
            multiple_of=multiple_of,
        ),
        fractional,
        tile,
        precision,
        codec,
        crf,
        overwrite,
        backend,
    )
    if ray is None and any(Place(each).is_url for each in (*inputs, out)):
        raise SpanPPError("URLs of stores are read and written with --ray only")
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


def _box(fit: str) -> tuple[int, int]:
    """Returns (width, height) in pixels."""
    box = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", fit)
    if box is None:
        raise SizeError(f"--fit {fit} is not a size; give one like 3840x2160")
    return int(box[1]), int(box[2])
