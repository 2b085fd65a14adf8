"""How a long run talks to the person who waits: text, the bar, and the wish to stop."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import comfy.model_management
import comfy.utils
from server import PromptServer

from .preview import LivePreview

SECONDS = 1.0
"""Between two texts about a video: more often they could not be read."""


def show_text(node: type[Any], text: str) -> None:
    """Shows a line on the node that is running (it asks for `Hidden.unique_id`)."""
    PromptServer.instance.send_progress_text(text, node.hidden.unique_id)


class StepProgress:
    """Progress without pictures: the bar, and the user's wish to stop.

    Pass it as ``on_progress``; it raises when the user has pressed stop.
    """

    def __init__(self) -> None:
        self._bar = comfy.utils.ProgressBar(1)

    def __call__(self, done: int, total: int) -> None:
        """Says that ``done`` of ``total`` steps are finished."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        self._bar.update_absolute(done, total, None)


class FrameProgress(StepProgress):
    """Progress of a video: also frames a second and the time left, as text on the node."""

    def __init__(self, node: type[Any]) -> None:
        """Shows them on the node that is running, see `show_text`."""
        super().__init__()
        self._node = node
        self._began: tuple[int, float] | None = None
        self._said = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Says that ``done`` of ``total`` frames are finished, some before this run."""
        super().__call__(done, total)
        now = time.monotonic()
        if self._began is None:
            self._began, self._said = (done, now), now
        elif now - self._said >= SECONDS:
            self._said = now
            first, began = self._began
            rate = (done - first) / (now - began)
            left = _time_left((total - done) / rate)
            show_text(
                self._node, f"frame {done} of {total} · {rate:.3g} frames/s · {left}"
            )


class FileProgress:
    """Progress of many files: the bar, and text on the node with the time left.

    Pass it as ``on_progress`` of each file, between `begin` and `end`; it raises when the
    user has pressed stop.
    """

    def __init__(self, node: type[Any], files: int) -> None:
        """Shows it on the node that is running, see `show_text`."""
        self._node = node
        self._files = files
        self._bar = comfy.utils.ProgressBar(files)
        self._ended = 0
        self._made = 0
        self._making = 0.0  # seconds that those made took
        self._began = 0.0

    def begin(self, name: str) -> None:
        """Says which file comes now."""
        words = [f"{self._ended + 1} of {self._files}"]
        if self._made:
            each = self._making / self._made
            words.append(_time_left(each * (self._files - self._ended)))
        show_text(self._node, " · ".join([*words, name]))
        self(0, 1)
        self._began = time.monotonic()

    def end(self, *, is_made: bool) -> None:
        """Ends a file; the time left is told by those that had to be made."""
        self._ended += 1
        if is_made:
            self._made += 1
            self._making += time.monotonic() - self._began

    def __call__(self, done: int, total: int) -> None:
        """Says that ``done`` of ``total`` tiles of a file are finished."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        steps = self._ended * total + done
        self._bar.update_absolute(steps, self._files * total, None)


class TileProgress:
    """Progress of a run: the bar, a live preview, and the user's wish to stop.

    Pass it as ``on_progress``; it raises when the user has pressed stop.
    """

    def __init__(self, preview: LivePreview) -> None:
        self._preview = preview
        self._bar = comfy.utils.ProgressBar(1)

    def __call__(self, done: int, total: int) -> None:
        """Says that ``done`` of ``total`` tiles are finished."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        self._bar.update_absolute(done, total, self._preview.due(done, total))


def _time_left(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))} left"
