"""Where a model runs: the device, the memory and the dtype that ComfyUI gives it."""

from __future__ import annotations

import math
from typing import Any

import comfy.model_management
import comfy.model_patcher
import torch
from comfy.patcher_extension import CallbacksMP
from torch import Tensor

from ...spanpp_core import SizeError, SpanPPDescriptor, fastest_dtype
from ...spanpp_core.engine.memory import free_memory

COPIES = 3
"""
What ComfyUI counts for a model, as a multiple of its weights: these, a copy in half
precision, and that copy as a GPU's convolutions want it, wider by up to a third.
"""

_UNLOADED = "spanpp"
"""The key of our callback at a patcher."""


def attach_patcher(model: SpanPPDescriptor) -> None:
    """Gives the weights to ComfyUI's model management, unless it has them already.

    Newer hosts' own upscale node reads ``model.patcher``; views of a model carry it.
    What was made of the weights to run them leaves memory when ComfyUI unloads them.
    """
    if getattr(model, "patcher", None) is None:
        patcher: Any = getattr(
            comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher
        )
        model.patcher = patcher(
            model.model,
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
            size=COPIES * comfy.model_management.module_size(model.model),
        )
    if model.patcher.get_callbacks(CallbacksMP.ON_DETACH, _UNLOADED):
        return
    # not the model itself: it holds the patcher, and would never be freed
    forget = (model.backends.forget, model.model.upsampler.forget)

    def unloaded(_patcher: Any, unpatches: bool) -> None:
        if unpatches:  # otherwise the weights stay: the host does so before every run
            for each in forget:
                each()

    model.patcher.add_callback_with_key(CallbacksMP.ON_DETACH, _UNLOADED, unloaded)


def load_device(model: SpanPPDescriptor) -> torch.device:
    """Returns where ComfyUI will want a model when it runs."""
    attach_patcher(model)
    return model.patcher.load_device


def bring_to_device(model: SpanPPDescriptor, working_memory: int) -> int | None:
    """Loads a model where ComfyUI wants it, with room to work in; it may stay there.

    Args:
        model: Its weights are moved; views of it share them.
        working_memory: What the run takes beside the weights, in bytes.

    Returns:
        The bytes that ComfyUI counts as free on a GPU: newer hosts evict other models
        when memory is needed, and the driver does not know. None where the core knows.
    """
    attach_patcher(model)
    comfy.model_management.load_models_gpu(
        [model.patcher], memory_required=working_memory, force_full_load=True
    )
    # an older host's own upscale node moves weights behind the management's back
    device = model.patcher.load_device
    model.to(device)
    counted = getattr(model.patcher, "get_free_memory", None)
    return counted(device) if counted and device.type != "cpu" else None


def result_buffer(shape: tuple[int, int, int, int]) -> Tensor:
    """Returns zeros (N, H, W, C), of the kind ComfyUI passes between nodes.

    Raises:
        SizeError: They take more memory than there is.
    """
    dtype = getattr(comfy.model_management, "intermediate_dtype", lambda: torch.float32)
    device = comfy.model_management.intermediate_device()
    needed, free = math.prod(shape) * dtype().itemsize, free_memory(device)
    if needed > free:
        frames, height, width, _ = shape
        raise SizeError(
            f"the result takes {_in_words(needed)} ({frames} of {width}x{height}"
            f" pixels) and {_in_words(free)} are free; choose a smaller size, or use"
            " Upscale Video or Upscale Folder (SpanPP), which hold one frame at a time"
        )
    return torch.zeros(shape, dtype=dtype(), device=device)


def auto_dtype(device: torch.device) -> torch.dtype:
    """Returns the dtype to run in on a device unless the user chooses one.

    ComfyUI knows its GPUs and what it was started with; of processors the core knows
    more.
    """
    if comfy.model_management.should_use_fp16(device):
        return torch.float16
    if device.type != "cpu" or comfy.model_management.FORCE_FP32:
        return torch.float32
    return fastest_dtype(device)


def _in_words(size: int) -> str:
    return f"{size / 1e12:.1f} TB" if size >= 1e12 else f"{size / 1e9:.1f} GB"
