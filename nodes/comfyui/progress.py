"""How a long run talks to the person who waits: text, the bar, and the wish to stop."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.utils
from server import PromptServer

from .preview import LivePreview


def show_text(node: type[Any], text: str) -> None:
    """Shows a line on the node that is running (it asks for `Hidden.unique_id`)."""
    PromptServer.instance.send_progress_text(text, node.hidden.unique_id)


class FrameProgress:
    """Progress of a video: the bar, and the user's wish to stop.

    Pass it as ``on_progress``; it raises when the user has pressed stop.
    """

    def __init__(self) -> None:
        self._bar = comfy.utils.ProgressBar(1)

    def __call__(self, done: int, total: int) -> None:
        """Says that ``done`` of ``total`` frames are finished."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        self._bar.update_absolute(done, total, None)


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
