"""Upscale Folder: image files to image files, one at a time; no batch is in memory."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comfy_api.latest import io
from typing_extensions import override

from ...spanpp_core import TO_MULTIPLE, Size, ToMultiple, prepare
from ...spanpp_core.batch.pairs import Pair, is_video, pairs
from ...spanpp_core.batch.upscaler import Outcome, UpscaleOptions, Upscaler, failure
from .allowed_folders import (
    allowed_folder,
    is_allowed,
    is_in_output,
    listed_folders,
    resolved,
)
from .any_model import as_spanpp
from .compatibility import node_schema
from .device import bring_to_device, load_device
from .inputs import ANY, AUTO, chosen_dtype, run_inputs, size_inputs, wanted_size
from .output_folder import inside_output
from .progress import FileProgress, show_text

TYPICAL = (1024, 1024)
"""(height, width) in pixels that ComfyUI is asked to make room for."""

NAMED_ON_NODE = 3
"""Failed files that the node names; the text output and the log name all."""


class SpanPPUpscaleFolder(io.ComfyNode):
    """Upscales the images of a folder into ComfyUI's output folder."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        precision, *_ = run_inputs()
        return node_schema(
            node_id="SpanPPUpscaleFolder",
            display_name="Upscale Folder (SpanPP)",
            description=(
                "Upscales every image of a folder into the output folder, one at a"
                " time, so folders can be of any size. Stopped runs resume."
            ),
            search_aliases=[
                *("batch upscale", "upscale directory", "upscale many images"),
                *(
                    "bulk upscale",
                    "批量放大",
                    "文件夹放大",
                    "一括拡大",
                    "フォルダー拡大",
                ),
            ],
            is_output_node=True,
            inputs=[
                io.UpscaleModel.Input(
                    "model",
                    tooltip="A SpanPP model, with or without a scale from Set Scale.",
                ),
                io.Combo.Input(
                    "folder",
                    options=listed_folders(),
                    tooltip=(
                        "A folder in ComfyUI's input or output folder, with the folders"
                        " in it. New ones are listed after a refresh (R)."
                    ),
                ),
                *size_inputs(),
                io.String.Input(
                    "output_folder",
                    default="",
                    optional=True,
                    display_name="output folder",
                    tooltip=(
                        "Name of the folder for the results, in ComfyUI's output folder."
                        " Empty: named after the folder and the size, as 'photos-x2'."
                    ),
                ),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    optional=True,
                    tooltip=(
                        "Replace existing results. Off: they are skipped, so a"
                        " stopped run resumes."
                    ),
                ),
                precision,
            ],
            outputs=[
                io.String.Output(
                    "summary",
                    display_name="summary",
                    tooltip=(
                        "How many files were upscaled, were already there or failed, and"
                        " a line for each that failed."
                    ),
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @override
    @classmethod
    def validate_inputs(cls, folder: object = None, size: object = None) -> bool | str:
        """Takes every folder that there is, unlike the host: also one not listed.

        Newer hosts pass the choice of the size as well, whatever is asked for.
        """
        del size
        try:
            if folder is not None:  # what comes by a link is seen later
                allowed_folder(str(folder))
        except ValueError as error:
            return str(error)
        return True

    @override
    @classmethod
    def fingerprint_inputs(cls, **_inputs: object) -> float:
        """Never the same: files may have come, and what is done costs nothing again."""
        return float("nan")

    @override
    @classmethod
    def execute(
        cls,
        model: object,
        folder: str,
        size: str | Mapping[str, Any] | None = None,
        multiple_of: str = ANY,
        to_multiple: ToMultiple = TO_MULTIPLE[0],
        output_folder: str = "",
        overwrite: bool = False,
        precision: str = AUTO,
        **flat: Any,
    ) -> io.NodeOutput:
        spanpp = as_spanpp(model)
        wanted = wanted_size(size, flat, multiple_of, to_multiple)
        source = allowed_folder(folder)
        below = folder.partition("/")[2].strip("/") or source.name
        name = output_folder.strip() or f"{below}-{_tag(wanted, spanpp.scale)}"
        target = inside_output(name)
        work = _work(source, target)
        device = load_device(spanpp)
        dtype = chosen_dtype(precision, spanpp, device)
        run = prepare(spanpp, TYPICAL, dtype=dtype, device=device)
        free = bring_to_device(spanpp, run.working_memory)
        options = UpscaleOptions(wanted, overwrite=overwrite, fastest=dtype, free=free)
        report = _upscaled(cls, Upscaler(spanpp, options), work, source)
        show_text(cls, f"{len(work)} of {len(work)}")
        if len(report.failures) == len(work):
            raise ValueError(f"no image could be upscaled: {report.summary(name)}")
        shown = report.summary(name, NAMED_ON_NODE)
        return io.NodeOutput(report.summary(name), ui={"text": (shown,)})


@dataclasses.dataclass
class _Report:
    """What became of the files."""

    upscaled: int = 0
    were_there: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    """A line each, which begins with the name."""

    def summary(self, target: str, most: int | None = None) -> str:
        """Says it in a line, and a line for each of the first ``most`` failures."""
        counts = [f"{self.upscaled} upscaled"]
        if self.were_there:
            counts.append(f"{self.were_there} already there")
        if self.failures:
            counts.append(f"{len(self.failures)} failed")
        named = self.failures[:most]
        lines = [f"{', '.join(counts)} → output/{target}", *named]
        if len(named) < len(self.failures):
            lines.append(f"and {len(self.failures) - len(named)} more, see the log")
        return "\n".join(lines)


def _upscaled(
    node: type[Any], upscaler: Upscaler, work: list[Pair], source: Path
) -> _Report:
    """Does the work; a file that cannot be upscaled is noted, and the others go on."""
    report = _Report()
    progress = FileProgress(node, len(work))
    for pair in work:
        name = pair.source.relative_to(source).as_posix()
        progress.begin(name)
        outcome = _refusal(pair) or upscaler.file(pair, progress)
        if outcome.failed:
            line = outcome.line.removeprefix("spanpp: ")
            report.failures.append(line.replace(str(pair.source), name))
            logging.warning("Upscale Folder: %s", report.failures[-1])
        is_made = not (outcome.failed or outcome.was_there)
        report.were_there += outcome.was_there
        report.upscaled += is_made
        progress.end(is_made=is_made)
    progress(0, 1)
    return report


def _work(source: Path, target: Path) -> list[Pair]:
    """Pairs the images below a folder with their results.

    Raises:
        ValueError: There are none, or they would replace themselves.
    """
    if source == target:
        raise ValueError("the results would replace the images; name another folder")
    found = [Pair(Path(a), Path(b)) for a, b in pairs([str(source)], str(target))]
    work = [pair for pair in found if not is_video(pair.source)]
    if not work:
        raise ValueError(f"{source.name} holds videos only; use Upscale Video for them")
    return work


def _refusal(pair: Pair) -> Outcome | None:
    """Refuses a file where a link leads from ComfyUI's folders to somewhere else."""
    if not is_allowed(resolved(pair.source)):
        where = "links to a file outside of ComfyUI's input and output folders"
    elif not is_in_output(resolved(pair.result.parent / "_")):
        where = "its result would be written outside of ComfyUI's output folder"
    else:
        return None
    return failure(ValueError(f"{pair.source}: {where}"))


def _tag(size: Size, scale: float) -> str:
    """Returns a size as the end of a folder's name: 'x2', 'fit-3840x2160'."""
    asked = {
        field.name: getattr(size, field.name)
        for field in dataclasses.fields(size)
        if getattr(size, field.name) != field.default
    }
    factor = asked.pop("factor", None if asked else scale)
    words = [] if factor is None else [f"x{factor:g}"]
    for name, value in asked.items():
        shown = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words.append(f"{name}-{shown}".replace("_", "-"))
    return "-".join(words)
