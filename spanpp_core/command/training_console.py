"""A training at the keyboard: what is seen of it, and how it is stopped."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from ..training.report import Report


class Display:
    """The progress bar, and what is printed above it; silent in all processes but one."""

    def __init__(self, steps: int, pixels: int, console: Console, main: bool) -> None:
        self.pixels = pixels
        """Low-resolution pixels a step."""
        self.main = main
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not main,
        )
        self.task = self.progress.add_task("steps", total=steps)
        self.before: tuple[float, int] | None = None

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def show(self, report: Report) -> None:
        """Shows the mean loss and the speed since the last report."""
        now, text = time.perf_counter(), f"loss {report.loss:.4f}"
        if self.before is not None:
            then, step = self.before
            speed = self.pixels * (report.step - step) / (now - then)
            text += f"  {speed / 1000:.1f} thousand px/s"
        self.progress.update(self.task, completed=report.step, description=text)
        self.before = (now, report.step)

    def tell(self, name: str, scores: Mapping[str, float]) -> None:
        """Prints the PSNR at each scale."""
        each = [f"{key.partition('/')[2]} {value:.2f}" for key, value in scores.items()]
        if self.main:
            line = f"{name:<8}{'  '.join(each)} dB"
            self.progress.console.print(line, soft_wrap=True)


class Stop:
    """Says when to stop: after some minutes, or when a signal asks for it."""

    def __init__(self, minutes: float | None) -> None:
        self.end = None if minutes is None else time.monotonic() + 60 * minutes
        self.interrupted = False

    def __call__(self) -> bool:
        """Returns whether to stop now."""
        late = self.end is not None and time.monotonic() >= self.end
        return self.interrupted or late

    def __enter__(self) -> None:
        self.handlers = {
            int(number): signal.signal(number, self._asked)
            for number in (signal.SIGINT, signal.SIGTERM)
        }

    def __exit__(self, *_: object) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        signal.signal(number, self.handlers[number])  # a second one stops at once
