"""``spanpp upscale``: files and folders of images and videos."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..backends import Backend
from ..batch import cluster
from ..batch.pairs import pairs
from ..batch.places import Place
from ..batch.upscaler import (
    DTYPES,
    Precision,
    UpscaleOptions,
    Upscaler,
)
from ..checkpoint import repaired
from ..descriptor import bundled_model, load
from ..devices import device_named
from ..engine.size import Fractional, Size, ToMultiple, parse_factor
from ..errors import SizeError, SpanPPError
from ..video import CODECS
from .choices import one_of, precision_option
from .upscale_console import print_outcomes, upscale_files

_SIZE = "Size of the result (give one)"
_RUN = "Speed, memory and precision"
_VIDEO = "Videos"
_CLUSTER = "Ray cluster"


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
            "--out", "-o", help="Output folder; for a single input also a file name."
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="SpanPP file. Default: the bundled one."),
    ] = None,
    repair: Annotated[
        float,
        typer.Option(
            "--repair",
            "-r",
            help="From 0 to 1: how strongly JPEG artefacts, blur and noise are removed."
            " Default: 0, which keeps what is there.",
            show_default=False,
        ),
    ] = 0.0,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace existing results. Default: skip them."
        ),
    ] = False,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            "-s",
            help="Factor from 1 to 8, such as 2, 2.5 or 8/3. Default: the model's own.",
            rich_help_panel=_SIZE,
        ),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            help="Largest size that fits into WIDTHxHEIGHT pixels.",
            rich_help_panel=_SIZE,
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Width in pixels; the height follows. With --height: exactly that size,"
            " edges cropped.",
            rich_help_panel=_SIZE,
        ),
    ] = None,
    height: Annotated[
        int | None,
        typer.Option(
            min=1, help="Height in pixels; the width follows.", rich_help_panel=_SIZE
        ),
    ] = None,
    longer_side: Annotated[
        int | None,
        typer.Option(min=1, help="Longer side in pixels.", rich_help_panel=_SIZE),
    ] = None,
    shorter_side: Annotated[
        int | None,
        typer.Option(min=1, help="Shorter side in pixels.", rich_help_panel=_SIZE),
    ] = None,
    megapixels: Annotated[
        float | None,
        typer.Option(help="Area in millions of pixels.", rich_help_panel=_SIZE),
    ] = None,
    multiple_of: Annotated[
        int,
        typer.Option(
            min=1,
            help="Make both sides a multiple of this, such as 8.",
            rich_help_panel=_SIZE,
        ),
    ] = 1,
    to_multiple: Annotated[
        ToMultiple,
        typer.Option(
            help="How --multiple-of is reached: crop the edges, or stretch slightly.",
            rich_help_panel=_SIZE,
        ),
    ] = "crop",
    fractional: Annotated[
        Fractional,
        typer.Option(
            help="How a scale such as 2.5 is reached. native: in one pass, with a kernel"
            " for exactly that scale. downscale: by the next whole scale, then shrunk."
            " auto: native if the model was trained on fractional scales.",
            rich_help_panel=_RUN,
        ),
    ] = "auto",
    tile: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Side of the tiles in input pixels. The result is the same at any"
            " tile size. Default: what fits into memory.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda, cuda:1, mps, ... Default: the fastest.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    precision: Annotated[
        Precision,
        precision_option(
            Precision,
            "Number format of the network. auto: fp32 for images of more than 8 bits;"
            " otherwise the fastest whose result stays within 2/255 of fp32.",
            rich_help_panel=_RUN,
        ),
    ] = "auto",
    backend: Annotated[
        Backend,
        typer.Option(
            help="Library that runs the network. auto: the fastest installed for the job.",
            rich_help_panel=_RUN,
        ),
    ] = "auto",
    codec: Annotated[
        str | None,
        typer.Option(
            parser=one_of(list(CODECS)),
            metavar="<codec>",
            help=f"One of {', '.join(CODECS)}. Default: libx264; in .webm libvpx-vp9.",
            rich_help_panel=_VIDEO,
        ),
    ] = None,
    crf: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Quality; lower means better and larger files. Default: the codec's.",
            rich_help_panel=_VIDEO,
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Spread the files over a Ray cluster: the one at ADDRESS, or else the"
            " one running on this machine, or else a new one.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of workers. Default: as many as the cluster has room for.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="GPUs per worker. Default: 1. At 0.5, two workers share a GPU.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
) -> int:
    """Upscale images and videos.

    Results keep the name and format of their source. Images keep alpha, bit depth and
    colour profile; videos keep sound and frame times. An interrupted video resumes where
    it stopped. A file that cannot be upscaled is reported and skipped, and the exit
    status is then 1.
    """
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 would print its settings
    if ray is None and (workers or gpus_per_worker):
        raise SpanPPError("--workers and --gpus-per-worker need --ray")
    options = UpscaleOptions(
        Size(
            factor=None if scale is None else parse_factor(scale),
            fit=None if fit is None else _box(fit),
            width=width,
            height=height,
            longer_side=longer_side,
            shorter_side=shorter_side,
            megapixels=megapixels,
            multiple_of=multiple_of,
            to_multiple=to_multiple,
        ),
        fractional=fractional,
        tile=tile,
        precision=precision,
        codec=codec,
        crf=crf,
        overwrite=overwrite,
        backend=backend,
    )
    if ray is None and any(Place(each).is_url for each in (*inputs, out)):
        raise SpanPPError("URLs of object stores need --ray")
    work = pairs(inputs, out)
    checkpoint = repaired(model or bundled_model(), repair)
    if precision != "auto":
        checkpoint.check_dtype(DTYPES[precision])
    try:
        if ray is None:
            loaded = load(checkpoint, device=device_named(device))
            return upscale_files(Upscaler(loaded, options), work)
        pool = cluster.Pool(workers, gpus_per_worker, device)
        outcomes = cluster.outcomes(ray, pool, checkpoint, work, options)
        return print_outcomes(outcomes, len(work))
    except KeyboardInterrupt:  # of which typer says nothing
        then = "" if overwrite else "; the same command goes on"
        print(f"spanpp: stopped{then}", file=sys.stderr)
        raise typer.Exit(130) from None


def _box(fit: str) -> tuple[int, int]:
    """Returns (width, height) in pixels."""
    box = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", fit)
    if box is None:
        raise SizeError(f"--fit {fit} is not a size; give one like 3840x2160")
    return int(box[1]), int(box[2])
