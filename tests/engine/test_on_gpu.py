"""A GPU gives the pixels of the CPU: by each backend, in each dtype, from any memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from on_gpu import runs_cupy
from PIL import Image
from torch import Tensor

import spanpp_core
from spanpp_core import Backend, SpanPPDescriptor, upscale
from spanpp_core.engine.memory import empty_cache

pytestmark = pytest.mark.gpu

STEP = 1 / 255
SUITED = {"channels": 16}
"""Small, and for every backend."""
SCALES = [1, 2, 4, 2.5, 2.73]
FAST: list[Backend] = ["torch", "jiterator"]
if find_spec("triton"):
    FAST.append("triton")
if runs_cupy():
    FAST.append("cupy")


@pytest.fixture(scope="module")
def network() -> SpanPPDescriptor:
    return spanpp_core.load(spanpp_core.bundled_model())


@pytest.fixture(scope="module")
def photo() -> Tensor:
    pixels = np.asarray(Image.open(spanpp_core.bundled_photo()).convert("RGB"))
    image = torch.from_numpy(pixels.astype(np.float32) / 255).movedim(-1, 0)
    return image[None, :, 240:340, 400:530].contiguous()


@pytest.fixture(scope="module")
def expected(network, photo) -> dict[float, Tensor]:
    """What PyTorch makes of the photo on the CPU in float32, at each scale."""
    plain = network.with_backend("torch")
    return {scale: upscale(plain.at_scale(scale), photo) for scale in SCALES}


def on_gpu(
    network: SpanPPDescriptor, dtype: torch.dtype, backend: Backend
) -> SpanPPDescriptor:
    """Returns a copy of a model on the GPU."""
    copied = spanpp_core.load(network.checkpoint, device="cuda", dtype=dtype)
    return copied.with_backend(backend)


def assert_ran(model: SpanPPDescriptor) -> None:
    """A backend that fails is PyTorch from then on: the pixels would not tell."""
    assert not model.backends.failures
    assert [kind for kind, _ in model.backends._runners] == [model.backend]


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_photos_are_those_of_the_cpu_at_any_scale(
    network, photo, expected, backend, dtype
):
    """In half precision within a step of 8 bits; float32 keeps images of 16 bits."""
    if backend == "cupy" and dtype == torch.float32:
        pytest.skip("it is for half precision")
    model = on_gpu(network, dtype, backend)
    most = 10 / 65535 if dtype == torch.float32 else 1.5 * STEP
    for scale in SCALES:
        found = upscale(model.at_scale(scale), photo)
        off = (found - expected[scale]).abs()
        assert off.max() <= most, f"{65535 * off.max():.0f} of 65535 at x{scale}"
        if dtype != torch.float32:
            assert (off > STEP).float().mean() < 1e-4, f"x{scale}"
    assert_ran(model)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("scale", [2, 2.5])
def test_images_come_from_any_memory_and_go_to_any(make, backend, scale):
    image = torch.rand(3, 4, 90, 130)
    expected = upscale(make(**SUITED).at_scale(scale).with_backend("torch"), image)
    model = make(**SUITED).to("cuda").at_scale(scale).with_backend(backend)
    if backend == "cupy":
        model = model.with_dtype(torch.float16)
    outs = {
        "pinned": torch.empty_like(expected).pin_memory(),
        "channels last": torch.empty_like(expected.movedim(1, -1)).movedim(-1, 1),
        "in float16": expected.half(),
        "on the GPU": torch.empty_like(expected, device="cuda"),
    }
    images = {
        "pinned": image.pin_memory(),
        "channels last": image.contiguous(memory_format=torch.channels_last),
        "on the GPU": image.cuda(),
    }
    most = 2e-2 if backend == "cupy" else 2e-3
    for tile in (None, 40):
        for source, given in images.items():
            for target, out in outs.items():
                upscale(model, given, tile=tile, out=out.zero_())
                off = (out.float().cpu() - expected).abs().max()
                assert off < most, f"{source} to {target}, tile {tile}"
    assert_ran(model)


def test_frames_one_after_the_other_do_not_mix(make):
    frames = torch.rand(6, 3, 64, 64)
    model = make().to("cuda")
    together = upscale(model, frames, memory=1)
    for frame, result in zip(frames, together):
        alone = upscale(model, frame[None])[0]
        torch.testing.assert_close(alone, result, rtol=2e-3, atol=2e-3)


def test_the_gpu_may_be_the_default_device_of_a_program(make):
    model, frames = make().to("cuda"), 3 * torch.rand(2, 4, 91, 133)
    for scale in SCALES:
        view = model.at_scale(scale)
        with torch.device("cuda"):
            found = upscale(view, frames, tile=40)
        torch.testing.assert_close(found, upscale(view, frames, tile=40))


def test_threads_of_a_host_share_a_model(make):
    frames = torch.rand(8, 3, 200, 210)
    model = make().to("cuda")
    expected = [upscale(model, frame[None]) for frame in frames]

    def run(index: int) -> Tensor:
        with torch.inference_mode():
            return upscale(model, frames[index : index + 1], tile=64)

    with ThreadPoolExecutor(4) as pool:
        for found, alone in zip(pool.map(run, range(8)), expected):
            torch.testing.assert_close(found, alone, rtol=2e-3, atol=2e-3)
    assert not model.backends.failures


@pytest.mark.parametrize("backend", FAST)
def test_a_gpu_that_is_full_runs_smaller_tiles(network, photo, backend):
    model = on_gpu(network, torch.float16, backend).at_scale(8)
    image = photo.repeat(1, 1, 4, 4)
    expected = upscale(model, image)
    device = torch.device("cuda", torch.cuda.current_device())
    empty_cache(device)
    most = torch.cuda.memory_allocated() + 100 * 2**20
    totals: list[int] = []
    torch.cuda.set_per_process_memory_fraction(
        most / torch.cuda.get_device_properties(device).total_memory
    )
    try:
        found = upscale(
            model,
            image,
            tile=1000,
            on_progress=lambda done, total: totals.append(total),
        )
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert totals[-1] > 1, "it fitted"
    assert (found - expected).abs().max() < STEP
    assert_ran(model)


@pytest.mark.parametrize("backend", [each for each in FAST if each != "cupy"])
def test_weights_that_a_host_moves_or_swaps_are_those_that_run(make, backend):
    image = torch.rand(1, 3, 40, 50)
    model = make().to("cuda").with_backend(backend)
    before = upscale(model, image)
    model.to("cpu")
    model.to("cuda")
    torch.testing.assert_close(upscale(model, image), before)
    with torch.no_grad():
        model.model.conv_cat.weight.mul_(0.5)
    plain = spanpp_core.load(model.model.state_dict()).with_backend("torch")
    expected = upscale(plain, image)
    torch.testing.assert_close(upscale(model, image), expected, rtol=2e-3, atol=2e-3)
    assert not torch.allclose(before, expected, atol=2e-2)


def test_compiled_it_gives_the_same_pixels(make):
    """Last, as compiling takes longer than all others."""
    image = torch.rand(2, 3, 90, 130)
    expected = upscale(make().with_backend("torch"), image)
    model = make().to("cuda").with_backend("compile")
    for tile in (None, 40):
        found = upscale(model, image, tile=tile)
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
    assert_ran(model)
