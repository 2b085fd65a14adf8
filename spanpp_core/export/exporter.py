"""From a checkpoint to files in a folder, each one verified before it appears."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..checkpoint import Checkpoint
from ..errors import ExportError, first_line
from ..network.model import SpanPP
from ..network.scale import checked_scale
from ..optional import require
from . import verify
from .formats import FORMATS, ExportOptions, FileFormat, PlannedFile
from .graph import OLDEST_OPSET


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
    folder: Path,
    formats: Sequence[str],
    scales: Sequence[float] = (),
    options: ExportOptions | None = None,
) -> Iterator[Exported]:
    """Writes a model in the formats of other programs, one file after the other.

    Each is written aside, run by its own runtime on images of two odd sizes, and moved
    to its place only if it agrees with the core.

    Args:
        checkpoint: What `spanpp_core.checkpoint.read` or `parse` returned.
        name: What the files' names begin with.
        folder: Where to write; made if it does not exist.
        formats: Names of `FORMATS`.
        scales: For the formats that do one scale a file; by default the one that the
            model starts with.
        options: How to write.

    Returns:
        What was written, as it is written; nothing is until the first is asked for.

    Raises:
        ExportError: Formats, scales and options do not go together, a package is
            missing, or a file exists: at once. A file was found wrong: in its turn.
        ScaleError: A scale is not a number from 1 to 8.

    Example:
        >>> import spanpp_core, tempfile
        >>> from spanpp_core import checkpoint
        >>> model = checkpoint.read(spanpp_core.bundled_model())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [file] = export(model, "c48", Path(folder), ["safetensors"])
        >>> file.paths[0].name, file.difference < file.tolerance
        ('c48_slim.safetensors', True)
    """
    options = options or ExportOptions()
    trained = checkpoint.hyper.scales
    wanted = [checked_scale(scale, trained) for scale in scales]
    files = list(_planned(checkpoint, name, formats, wanted, options))
    for kind, planned in files:
        for file in kind.names(planned):
            if (folder / file).exists() and not options.overwrite:
                raise ExportError(
                    f"{folder / file} exists; allow to overwrite it, or choose another folder"
                )
    network = verify.loaded(checkpoint)
    return (_exported(kind, planned, folder, network) for kind, planned in files)


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
    if options.size is not None and "onnx" not in formats:
        raise ExportError("a fixed size is for the format onnx; leave it out")
    if options.opset != OLDEST_OPSET and not {"onnx", "onnx-multi"} & set(formats):
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
    """Writes one file aside, verifies it there, and moves it to its place.

    Raises:
        ExportError: The file was found wrong and is not kept.
    """
    names = kind.names(planned)
    tolerance = kind.tolerance(planned.options)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as aside:
        paths = tuple(Path(aside) / name for name in names)
        # Hosts call this in inference mode, whose tensors cannot be traced.
        with torch.inference_mode(False), torch.no_grad():
            kind.write(planned, paths)
            try:
                difference = kind.difference(planned, paths, network)
            except Exception as error:
                raise ExportError(
                    f"{names[-1]} was made but does not run, and was deleted:"
                    f" {first_line(error)}"
                ) from error
        if not difference <= tolerance:
            raise ExportError(
                f"{names[-1]} was made but is {difference:.1e} away from the model,"
                f" more than {tolerance:.0e}, and was deleted; another version of the"
                " packages it is made with may do better"
            )
        for path in paths:
            path.replace(folder / path.name)
    return Exported(tuple(folder / name for name in names), difference, tolerance)
