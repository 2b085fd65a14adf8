"""``spanpp export``: files for other programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from .. import checkpoint
from ..engine.size import parse_factor
from ..errors import ExportError
from ..export import FORMATS, ExportOptions, WeightPrecision
from ..export import export as exported
from ..export.graph import OLDEST_OPSET
from ..export.programs import PROGRAMS, ProgramName, request
from .choices import precision_option


def export(
    model: Annotated[Path, typer.Argument(help="A SpanPP file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    more_scales: Annotated[
        list[str] | None,
        typer.Argument(metavar="scale", help="Further values of --scales."),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="|".join(FORMATS),
            help="May be given several times. Default: onnx.",
        ),
    ] = None,
    program: Annotated[
        ProgramName | None,
        typer.Option(
            "--for",
            help="Choose format, file names, scales and precision for a program.",
        ),
    ] = None,
    scales: Annotated[
        list[str] | None,
        typer.Option(
            "--scales",
            "-s",
            help="One or more, such as 2 2.5 4/3. Default: the model's own.",
        ),
    ] = None,
    all_trained: Annotated[
        bool, typer.Option("--all-trained", help="Every scale of the model's training.")
    ] = False,
    precision: Annotated[
        WeightPrecision | None,
        precision_option(WeightPrecision, "Of weights and arithmetic. Default: fp32."),
    ] = None,
    opset: Annotated[
        int, typer.Option(help="ONNX operator set, 17 or newer.")
    ] = OLDEST_OPSET,
    static: Annotated[
        str | None,
        typer.Option(
            help="Fixed input size of ONNX files, HEIGHTxWIDTH in pixels. Default: any."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Start of the file names. Default: the model's."),
    ] = None,
    repair: Annotated[
        float,
        typer.Option(
            help="From 0 to 1: how strongly JPEG artefacts, blur and noise are removed;"
            " needs the repair model beside MODEL. Default: 0.",
            show_default=False,
        ),
    ] = 0.0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing files.")
    ] = False,
) -> None:
    """Write a model as ONNX, ncnn, TorchScript or slim safetensors.

    Every file is run by its own runtime and compared with the model before it is kept.
    """
    # "--scales 2 3 4": the parser sees one value of an option and more arguments
    given = [*(scales or []), *(more_scales or [])]
    if more_scales and not scales:
        words = " ".join(more_scales)
        raise ExportError(f"{words}: one model at a time; scales go after --scales")
    if given and all_trained:
        raise ExportError("give --scales or --all-trained, not both")
    if program and formats:
        raise ExportError(f"--for {program} chooses the format; leave --format out")
    found = checkpoint.repaired(model, repair)
    wanted = list(map(parse_factor, given))
    if all_trained:
        wanted = [float(scale) for scale in found.hyper.scales]
    chosen = PROGRAMS[program].precision if program else "fp32"
    options = ExportOptions(precision or chosen, opset, _size(static), overwrite)
    kinds = formats or ["onnx"]
    if program:
        kinds, wanted, options = request(program, wanted, options)
    files = exported(found, name or model.stem, out, kinds, wanted, options)
    for file in files:
        names = " and ".join(str(path) for path in file.paths)
        size = sum(path.stat().st_size for path in file.paths) / 2**20
        print(
            f"{names} ({size:.1f} MiB): at most {file.difference:.1e} from the model"
            f" ({file.tolerance:.0e} allowed)",
            flush=True,
        )
    if program:
        print(PROGRAMS[program].hint)


def _size(static: str | None) -> tuple[int, int] | None:
    """Returns (height, width), or None for any."""
    if static is None:
        return None
    size = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", static)
    if size is None:
        raise ExportError(f"--static {static} is not a size; give one like 720x1280")
    return int(size[1]), int(size[2])
