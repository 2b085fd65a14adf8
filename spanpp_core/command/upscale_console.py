"""Files that are upscaled, at the keyboard: the bars, and a line for each of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from ..batch.pairs import Pair
from ..batch.upscaler import Outcome, Upscaler


def upscale_files(upscaler: Upscaler, work: list[tuple[str, str]]) -> int:
    """Upscales the files in this process; returns the exit status."""
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


def print_outcomes(outcomes: Iterator[Outcome], total: int) -> int:
    """Reports the outcomes of the workers; returns the exit status."""
    failed = 0
    with _progress() as progress:
        files = progress.add_task("files", total=total)
        for outcome in outcomes:
            failed += outcome.failed
            _print(progress, outcome)
            progress.advance(files)
    return 1 if failed else 0


def _progress() -> Progress:
    console = Console(stderr=True, markup=False, highlight=False)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # a log would get an empty line, and what shows a pipe, such as tee, the bars
        disable=not (console.is_interactive and sys.stdout.isatty()),
    )


def _print(progress: Progress, outcome: Outcome) -> None:
    """Prints results to the standard output, and failures where the bars are."""
    if outcome.failed or not progress.disable:
        style = "red" if outcome.failed else None
        progress.console.print(outcome.line, soft_wrap=True, style=style)
    else:
        print(outcome.line, flush=True)
