"""Where a model runs and how a long run talks to ComfyUI: device, memory, progress."""

from __future__ import annotations

import time
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import torch
from PIL import Image
from server import PromptServer
from torch import Tensor

from ...spanpp_core import SpanPPDescriptor, fastest_dtype

PREVIEW_SIDE = 512
"""Longer side of the live preview in pixels, about."""

PREVIEW_SECONDS = 0.25
"""Least time between two live previews: more would cost more than they show."""


def attach_patcher(model: SpanPPDescriptor) -> None:
    """Gives the weights to ComfyUI's model management, unless it has them already.

    Newer hosts' own upscale node reads ``model.patcher``; views of a model carry it.
    """
    if getattr(model, "patcher", None) is not None:
        return
    patcher: Any = getattr(
        comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher
    )
    model.patcher = patcher(
        model.model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def load_device(model: SpanPPDescriptor) -> torch.device:
    """Returns where ComfyUI will want a model when it runs."""
    attach_patcher(model)
    return model.patcher.load_device


def bring_to_device(model: SpanPPDescriptor, working_memory: int) -> None:
    """Loads a model where ComfyUI wants it, with room to work in; it may stay there.

    Args:
        model: Its weights are moved; views of it share them.
        working_memory: What the run takes beside the weights, in bytes.
    """
    attach_patcher(model)
    comfy.model_management.load_models_gpu(
        [model.patcher], memory_required=working_memory, force_full_load=True
    )
    # an older host's own upscale node moves weights behind the management's back
    model.to(model.patcher.load_device)


def result_buffer(shape: tuple[int, ...]) -> Tensor:
    """Returns zeros of a shape, of the kind ComfyUI passes between nodes."""
    dtype = getattr(comfy.model_management, "intermediate_dtype", lambda: torch.float32)
    return torch.zeros(
        shape, dtype=dtype(), device=comfy.model_management.intermediate_device()
    )


def auto_dtype(device: torch.device) -> torch.dtype:
    """Returns the dtype to run in on a device unless the user chooses one.

    ComfyUI knows its cards and what it was started with; of processors the core knows
    more.
    """
    if comfy.model_management.should_use_fp16(device):
        return torch.float16
    if device.type != "cpu" or comfy.model_management.FORCE_FP32:
        return torch.float32
    return fastest_dtype(device)


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

    def __init__(self, images: Tensor, result: Tensor) -> None:
        """Watches ``result`` (N, H, W, C), zeros at first, being made of ``images``."""
        self._images = images
        self._result = result
        self._bar = comfy.utils.ProgressBar(1)
        self._last_preview = 0.0
        self.tiles = 0
        """The tiles in all, as last heard."""

    def __call__(self, done: int, total: int) -> None:
        """Says that ``done`` of ``total`` tiles are finished."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        self.tiles = total
        preview = None
        now = time.monotonic()
        if now - self._last_preview >= PREVIEW_SECONDS or done == total:
            frame = min(done * len(self._result) // total, len(self._result) - 1)
            preview = ("JPEG", self._picture(frame), PREVIEW_SIDE)
            self._last_preview = now
        self._bar.update_absolute(done, total, preview)

    def _picture(self, frame: int) -> Image.Image:
        """A frame as far as it is done; the rest is shown as it came."""
        made, given = self._result[frame], self._images[frame]
        colours = 1 if made.shape[-1] < 3 else 3
        step = max(1, max(made.shape[:2]) // PREVIEW_SIDE)
        made = made[::step, ::step, :colours].float().cpu()
        rows, cols = (
            torch.arange(length) * source // length
            for length, source in zip(made.shape[:2], given.shape[:2])
        )
        given = given[..., :colours].cpu()[rows[:, None], cols].float()
        shown = torch.where(made.any(dim=-1, keepdim=True), made, given)
        pixels = (shown.clamp(0, 1) * 255).round().byte().expand(-1, -1, 3)
        return Image.fromarray(pixels.contiguous().numpy())
