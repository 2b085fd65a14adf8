"""The dtype that is chosen: fast on the device, and invisible in the picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny import too_large_for_float16
from torch import Tensor

import spanpp_core
from spanpp_core import (
    PrecisionError,
    SpanPPDescriptor,
    fastest_dtype,
    fitting_dtype,
    prepare,
    upscale,
)
from spanpp_core.engine.precision import _log_once, exact_float32

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)

OLDER = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@pytest.fixture(scope="module")
def network() -> SpanPPDescriptor:
    return spanpp_core.load(spanpp_core.bundled_model())


@pytest.fixture(scope="module")
def photo() -> Tensor:
    pixels = np.asarray(Image.open(spanpp_core.bundled_photo()).convert("RGB"))
    return torch.from_numpy(pixels.astype(np.float32) / 255).movedim(-1, 0)[None]


def differences(network: SpanPPDescriptor, dtype: torch.dtype, image: Tensor) -> Tensor:
    """How far each value is from that of float32, in steps of 8 bits."""
    difference = upscale(network.with_dtype(dtype), image) - upscale(network, image)
    return 255 * difference.abs()


def assert_invisible(off: Tensor, scale: float) -> None:
    """Within a step of 8 bits, but for one value in two thousand."""
    assert off.max() < 2.5, f"{off.max():.2f} steps of 8 bits at x{scale}"
    assert off.mean() < 0.1, f"{off.mean():.2f} steps of 8 bits at x{scale} on average"
    more = (off > 1).float().mean()
    assert more < 5e-4, f"{more:.1e} of the values are off by a step at x{scale}"


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_what_is_chosen_is_within_a_step_of_float32(network, photo, scale):
    small = F.interpolate(photo, scale_factor=0.25, mode="bicubic", antialias=True)
    for image in (small.clamp(0, 1), photo[..., 200:320, 300:460]):
        off = differences(network.at_scale(scale), fastest_dtype(CPU), image)
        assert_invisible(off, scale)


@pytest.mark.parametrize(
    ("dtype", "side"), [(torch.bfloat16, 160), (torch.float16, 24)]
)
@pytest.mark.parametrize("scale", [2, 2.5])
def test_what_may_be_chosen_is_within_a_step_of_float32(
    network, photo, dtype, side, scale
):
    """On any processor, at the cost of emulation: float16 on little of the photo."""
    image = photo[..., 240 : 240 + side, 400 : 400 + side]
    assert_invisible(differences(network.at_scale(scale), dtype, image), scale)


def test_the_ends_of_a_bfloat16_network_are_float32(model):
    cast = model.with_dtype(torch.bfloat16)
    for name in (
        "conv0.conv_3x3_rep.weight",
        "conv_2.conv_3x3_rep.weight",
        "conv_cat.weight",
    ):
        kept, whole = (m.model.get_parameter(name) for m in (cast, model))
        assert torch.equal(kept, whole), f"{name} lost bits: pixels need more than 8"
    assert cast.dtype == cast.model.block_1.c1_r.conv_3x3_rep.weight.dtype
    assert cast.dtype == torch.bfloat16
    half = cast.half().model.conv0.conv_3x3_rep.weight
    assert half.dtype == torch.float16


@pytest.mark.parametrize("where", ["weight", "map", "kernel"])
def test_a_network_that_outgrows_float16_is_not_run_in_it(training_state, where):
    state = too_large_for_float16() if where == "weight" else training_state
    state = dict(spanpp_core.parse(state).state_dict)
    if where == "map":
        for layer in ("conv0", "block_1.c1_r"):
            state[f"{layer}.conv_3x3_rep.weight"] *= 1e3
    if where == "kernel":
        state["upsampler.query_kernel.2.weight"] *= 1e6
    model = spanpp_core.load(state)
    assert upscale(model, torch.rand(1, 3, 8, 8)).isfinite().all()
    assert not model.supports_half, "hosts of spandrel ask this"
    half = torch.float16
    for use in (
        lambda: model.with_dtype(half),
        lambda: spanpp_core.load(state, dtype=half),
        lambda: prepare(model, (8, 8), dtype=half),
    ):
        with pytest.raises(PrecisionError, match="float16 ends at 65504; use float32"):
            use()
    assert model.with_dtype(torch.bfloat16).dtype == torch.bfloat16


def test_what_is_chosen_is_float32_where_a_network_outgrows_float16(network, caplog):
    model = spanpp_core.load(too_large_for_float16())
    _log_once.cache_clear()
    for _ in range(2):
        assert fitting_dtype(model, torch.float16) == torch.float32
    (line,) = caplog.messages
    assert "running in float32: values in this network reach" in line
    assert fitting_dtype(model, torch.bfloat16) == torch.bfloat16
    assert fitting_dtype(network, torch.float16) == torch.float16


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx512_f": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_processor_is_asked_what_it_can_do(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: capabilities, raising=False
    )
    assert fastest_dtype(CPU) == dtype


@pytest.mark.parametrize(
    ("answers", "dtype"),
    [
        ({}, torch.float32),
        ({"_is_amx_tile_supported": False}, torch.float32),
        ({"_is_avx512_bf16_supported": True}, torch.bfloat16),
        ({"_is_amx_tile_supported": True}, torch.bfloat16),
    ],
)
def test_an_older_pytorch_may_not_know(monkeypatch, answers, dtype):
    for name in ("get_capabilities", *OLDER):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    for name, answer in answers.items():
        monkeypatch.setattr(
            torch.cpu, name, lambda answer=answer: answer, raising=False
        )
    assert fastest_dtype(CPU) == dtype


@pytest.mark.parametrize(
    ("name", "capability", "dtype"),
    [
        ("NVIDIA H200", (9, 0), torch.float16),
        ("NVIDIA GeForce RTX 4090", (8, 9), torch.float16),
        ("NVIDIA GeForce RTX 2060", (7, 5), torch.float16),
        ("Tesla V100-SXM2-16GB", (7, 0), torch.float16),
        ("Quadro GV100", (7, 0), torch.float16),
        ("Xavier", (7, 2), torch.float16),
        ("NVIDIA T4G", (7, 5), torch.float16),
        ("Tesla T4", (7, 5), torch.float16),
        ("NVIDIA GeForce GTX 1660 Ti", (7, 5), torch.float32),
        ("NVIDIA T400", (7, 5), torch.float32),
        ("NVIDIA GeForce GTX 1080", (6, 1), torch.float32),
    ],
)
def test_a_gpu_is_known_by_generation_and_name(monkeypatch, name, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fastest_dtype(CUDA) == dtype


@pytest.mark.parametrize("kind", ["mps", "meta"])
def test_what_is_not_known_is_float32(kind):
    assert fastest_dtype(torch.device(kind)) == torch.float32


def test_tf32_is_off_until_the_last_one_is_done(monkeypatch):
    """Two threads of a host may overlap in any way."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    first, second = exact_float32(CUDA), exact_float32(CUDA)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not torch.backends.cudnn.allow_tf32
    second.__exit__(None, None, None)
    assert torch.backends.cudnn.allow_tf32
    with pytest.raises(KeyError), exact_float32(CUDA):
        raise KeyError
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.skipif(
    not hasattr(torch.backends.cudnn, "conv"), reason="PyTorch 2.9 and later"
)
def test_tf32_is_switched_off_where_a_host_uses_the_newer_switch():
    """Then the older one raises an error; in a process of its own, as it is global."""
    code = """
import torch
from spanpp_core.engine.precision import exact_float32
conv = torch.backends.cudnn.conv
torch.backends.cudnn.rnn.fp32_precision = "ieee"
conv.fp32_precision = "tf32"
with exact_float32(torch.device("cuda", 0)):
    assert conv.fp32_precision == "ieee", conv.fp32_precision
assert conv.fp32_precision == "tf32", conv.fp32_precision
"""
    root = Path(spanpp_core.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_tf32_is_left_alone_elsewhere(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with exact_float32(CPU):
        assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("scale", [2, 2.5, 2.73])
def test_autocast_of_a_program_around_changes_nothing(model, scale):
    """bfloat16 was off by 7/255, and float32 was promised."""
    view, image = model.at_scale(scale), 3 * torch.rand(1, 4, 30, 40)
    expected = upscale(view, image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(upscale(view, image), expected)
