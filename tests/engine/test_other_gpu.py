"""The engine on GPUs that are neither CUDA nor ROCm: Apple's, Intel's, DirectML's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from other_gpu import GPU, OtherGPU
from tiny import training_network

from spanpp_core import Size, SpanPPDescriptor, load, upscale


@pytest.fixture
def on_gpu(make) -> Iterator[SpanPPDescriptor]:
    model = make()
    with OtherGPU("aminmax", "_upsample_bicubic2d_aa"):
        yield model.to(GPU)


@pytest.mark.parametrize("scale", [2, 2.5, 2.73])
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_come_out_as_on_the_cpu(make, on_gpu, scale, there, channels):
    image = torch.rand(2, channels, 50, 30)
    expected = upscale(make().at_scale(scale), image)
    given = image.to(GPU) if there else image
    found = upscale(on_gpu.at_scale(scale), given, tile=16)
    assert found.device == given.device
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_images_of_any_dtype_may_lie_in_main_memory(make, on_gpu, dtype):
    image = torch.rand(1, 3, 20, 30).to(dtype)
    expected = upscale(make(), image)
    assert torch.allclose(upscale(on_gpu, image), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("there", [False, True])
def test_values_outside_and_resizing_need_no_operator_that_is_missing(
    make, on_gpu, there
):
    image = torch.rand(1, 3, 24, 20)
    image[..., 5:7, 5:7] = 4
    size = Size(fit=(50, 50))
    expected = upscale(make(), image, size=size, fractional="downscale")
    given = image.to(GPU) if there else image
    found = upscale(on_gpu, given, size=size, fractional="downscale")
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)


def test_new_weights_are_seen_where_tensors_have_no_address(make, on_gpu):
    image, other = torch.rand(1, 3, 20, 30), load(training_network(seed=1).state_dict())
    upscale(on_gpu, image)
    on_gpu.model.load_state_dict(other.model.state_dict())
    found = upscale(on_gpu, image)
    torch.testing.assert_close(found, upscale(other, image), rtol=1e-4, atol=1e-5)
