"""Where a model runs: the device, the memory and the dtype that ComfyUI gives it."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.model_patcher
import torch
from torch import Tensor

from ...spanpp_core import SpanPPDescriptor, fastest_dtype


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

    ComfyUI knows its GPUs and what it was started with; of processors the core knows
    more.
    """
    if comfy.model_management.should_use_fp16(device):
        return torch.float16
    if device.type != "cpu" or comfy.model_management.FORCE_FP32:
        return torch.float32
    return fastest_dtype(device)
