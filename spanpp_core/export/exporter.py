"""From a checkpoint to files in a folder, each one verified before it appears."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from ..atomic_file import replacing
from ..checkpoint import Checkpoint
from ..errors import ExportError, first_line
from ..network.model import SpanPP
from ..network.scale import checked_scale, grid_scale
from ..optional import require
from . import verify
from .formats import FORMATS
from .graph import OLDEST_OPSET
from .planned_file import ExportOptions, FileFormat, PlannedFile


@dataclass(frozen=True)
class Exported:
    """A file, or a pair of files, that was written and verified."""

    paths: tuple[Path, ...]
    difference: float
    """The largest difference from the core, see `verify.largest_difference`."""
    tolerance: float
    """What it may be."""


def export(
    checkpoint: Checkpoint,
    name: str,
    folder: str | os.PathLike[str],
    formats: str | Sequence[str],
    scales: float | Sequence[float] = (),
    options: ExportOptions | None = None,
) -> Iterator[Exported]:
    """Writes a model in the formats of other programs, one file after the other.

    Each is made in memory, run by its own runtime on images of two odd sizes, and
    written only if it agrees with the core.

    Args:
        checkpoint: What `spanpp_core.checkpoint.read` or `parse` returned.
        name: What the files' names begin with.
        folder: Where to write; made if it does not exist.
        formats: Names of `FORMATS`, or one of them.
        scales: One or more, for the formats that do one scale a file; by default the one
            that the model starts with.
        options: How to write.

    Returns:
        What was written, as it is written; nothing is until the first is asked for.

    Raises:
        ExportError: At once: formats, scales and options do not go together, a file
            exists, or ``folder`` is one. In its turn: a file was found wrong, or could not
            be written.
        PrecisionError: The values of the network are too large for fp16.
        MissingPackageError: What a format is made or verified with is not installed.
        ScaleError: A scale is not a number from 1 to 8.

    Example::

        model = checkpoint.read("model.pth")
        for file in export(model, "model", "exported", ["onnx"], [2, 4]):
            print(file.paths, file.difference)
    """
    folder, options = Path(folder), options or ExportOptions()
    formats = [formats] if isinstance(formats, str) else formats
    scales = [scales] if isinstance(scales, (int, float)) else scales
    if any(FORMATS[each].computes for each in formats if each in FORMATS):
        checkpoint.check_dtype(options.dtype)
    trained = checkpoint.hyper.scales
    wanted = [_exact(checked_scale(scale, trained)) for scale in scales]
    files = list(_planned(checkpoint, name, formats, wanted, options))
    for kind, planned in files:
        for file in kind.names(planned):
            if (folder / file).exists() and not options.overwrite:
                raise ExportError(
                    f"{folder / file} exists; allow to overwrite it (--overwrite in the"
                    " command), or choose another folder"
                )
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder} is a file; give a folder to write to")
    network = verify.loaded(checkpoint)
    return (_exported(kind, planned, folder, network) for kind, planned in files)


def _exact(scale: int | float) -> int | float:
    """Returns the scale whose grid is run: 4/3 for 1.3333333. Equal ones are one file."""
    return checked_scale(grid_scale(scale))


def _planned(
    checkpoint: Checkpoint,
    name: str,
    formats: Sequence[str],
    scales: Sequence[int | float],
    options: ExportOptions,
) -> Iterator[tuple[FileFormat, PlannedFile]]:
    """Yields what is to be written, or says why it cannot be."""
    if name in ("", "..") or Path(name).name != name:
        raise ExportError(f"{name!r} is not the name of a file; leave out any folder")
    unknown = [each for each in formats if each not in FORMATS]
    if unknown or not formats:
        raise ExportError(
            f"format {' '.join(unknown) or 'missing'}; give one or more of"
            f" {', '.join(FORMATS)}"
        )
    if scales and not any(FORMATS[each].one_scale for each in formats):
        raise ExportError(f"{' and '.join(formats)} files do every scale; name none")
    if options.size is not None and not {"onnx", "onnx-span"} & set(formats):
        raise ExportError(
            "a fixed size is for the formats onnx and onnx-span; leave it out"
        )
    if options.opset != OLDEST_OPSET and not any(
        each.startswith("onnx") for each in formats
    ):
        raise ExportError("an opset is for ONNX formats; leave it out")
    for kind in (FORMATS[each] for each in dict.fromkeys(formats)):
        if kind.packages:
            require("Exporting", kind.extra, *kind.packages)
        own = dict.fromkeys(scales) or [checkpoint.hyper.default_scale]
        for scale in own if kind.one_scale else [0]:
            planned = PlannedFile(checkpoint, name, scale, options)
            kind.check(planned)
            yield kind, planned


def _exported(
    kind: FileFormat, planned: PlannedFile, folder: Path, network: SpanPP
) -> Exported:
    """Makes one file, verifies it, and writes it.

    Raises:
        ExportError: The file was found wrong, or could not be written.
    """
    paths = tuple(folder / name for name in kind.names(planned))
    tolerance = kind.tolerance(planned.options)
    # Hosts call this in inference mode, whose tensors cannot be traced.
    with torch.inference_mode(False), torch.no_grad():
        content = kind.content(planned)
        try:
            difference = kind.difference(planned, content, network)
        except Exception as error:
            raise ExportError(
                f"{paths[-1].name} was made but does not run, and was not written:"
                f" {first_line(error)}"
            ) from error
    if not difference <= tolerance:
        raise ExportError(
            f"{paths[-1].name} was made but is {difference:.1e} away from the model,"
            f" more than {tolerance:.0e}, and was not written; another version of the"
            " packages it is made with may do better"
        )
    try:
        _write(paths, content)
    except OSError as error:
        raise ExportError(
            f"{paths[-1]} could not be written: {error.strerror or first_line(error)}"
        ) from error
    return Exported(paths, difference, tolerance)


def _write(paths: tuple[Path, ...], content: tuple[bytes, ...]) -> None:
    """Writes the files, whole or not at all, in the order in which they are to appear."""
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as last_first:
        aside = [last_first.enter_context(replacing(path)) for path in reversed(paths)]
        for path, data in zip(reversed(aside), content):
            path.write_bytes(data)
