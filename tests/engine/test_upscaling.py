"""Tiled == untiled, at every tile size, image size, batch and scale."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import training_network

import spanpp_core
from spanpp_core.engine.tile_plan import Plan
from spanpp_core.network.hyperparameters import Hyperparameters
from spanpp_core.network.kernels import interpolation
from spanpp_core.network.model import SpanPP


def untiled(model, image):
    with torch.no_grad():
        return model.model(image).clamp(0, 1)


@functools.cache
def in_float64(kernel_size: int) -> spanpp_core.SpanPPDescriptor:
    hyper = Hyperparameters(
        channels=3, implicit_dim=4, latent_layers=0, kernel_size=kernel_size
    )
    model = spanpp_core.load(training_network(hyper).state_dict())
    model.model.double()
    return model


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([1, 1.5, 2, 2.5, 3, 3.7, 4, 5, 2.73, 8]),
    st.integers(1, 60),
    st.integers(1, 2),
    st.sampled_from([1, 3, 5]),
)
def test_tiled_equals_untiled(height, width, scale, tile, count, kernel_size):
    model = in_float64(kernel_size).at_scale(scale)
    image = torch.rand(count, 3, height, width, dtype=torch.float64)
    tile = max(tile, 12)
    result = spanpp_core.upscale(model, image, tile=tile)
    assert (result - untiled(model, image)).abs().max() < 1e-12


def far_sighted(make) -> spanpp_core.SpanPPDescriptor:
    """A model whose pixels all depend visibly on the last pixel of the halo."""
    model = make(channels=2)
    with torch.no_grad():
        for name, tensor in model.model.state_dict().items():
            if name.endswith("rep.weight"):
                tensor.zero_()
                tensor[:, :, 1, 0] = 0.7  # each convolution looks one pixel to the left
            if name.endswith("rep.bias"):
                tensor.fill_(0.1)
    model.model.double()
    return model


@pytest.mark.parametrize("scale", [1, 2, 2.5])
def test_a_halo_one_pixel_short_shows(make, scale):
    network = far_sighted(make).at_scale(scale).model
    image = torch.rand(1, 3, 8, 120, dtype=torch.float64)
    with torch.no_grad():
        expected = network(image)

        def worst(halo: int) -> float:
            plan = Plan.of(8, 120, scale, halo)
            return max(
                float((pixels - expected[..., t.out_rows, t.out_cols]).abs().max())
                for t in plan.tiles(30)
                for pixels in (
                    network.region(
                        image[..., t.in_rows, t.in_cols], plan.scale, t.window
                    ),
                )
            ) / float(expected.abs().max())

        assert worst(network.halo) < 1e-12
        assert worst(network.halo - 1) > 1e-3


@pytest.mark.parametrize("scale", [2, 1.5])
def test_grey_and_alpha(model, scale):
    view = model.at_scale(scale)
    image = torch.rand(2, 4, 9, 11)
    result = spanpp_core.upscale(view, image)
    colour, alpha = image[:, :3], image[:, 3:]
    assert torch.equal(result[:, :3], untiled(view, colour))
    grey = untiled(view, alpha.expand(-1, 3, -1, -1)).mean(1, keepdim=True)
    torch.testing.assert_close(result[:, 3:], grey)
    torch.testing.assert_close(spanpp_core.upscale(view, alpha), grey)
    both = spanpp_core.upscale(view, torch.cat([alpha, alpha.flip(-1)], 1))
    torch.testing.assert_close(both[:, :1], grey)


@pytest.mark.parametrize("in_channels", [1, 4])
def test_models_of_other_channels_give_three(make, in_channels):
    model = make(in_channels=in_channels)
    image = torch.rand(2, in_channels, 9, 11)
    result = spanpp_core.upscale(model, image)
    assert torch.equal(result, untiled(model, image))
    size = spanpp_core.Size(factor=1.5)
    assert spanpp_core.upscale(model, image, size=size).shape == (2, 3, 14, 16)
    with pytest.raises(ValueError, match="expected"):
        spanpp_core.upscale(model, torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize(("alpha", "expected"), [(1, 1), (0.3, 0.3), (1.5, 1), (-3, 0)])
def test_constant_alpha_stays_constant_within_its_range(model, alpha, expected):
    image = torch.rand(2, 4, 9, 11)
    image[:, 3] = alpha
    made = spanpp_core.upscale(model, image)[:, 3]
    assert torch.equal(made, torch.full_like(made, expected))


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("scale", [2, 2.5, 2.73])
def test_the_default_device_of_a_program_changes_nothing(model, scale, backend):
    if backend == "openvino":
        pytest.importorskip("openvino", reason="optional: spanpp[openvino]")
    interpolation.cache_clear()
    weights, image = model.model.state_dict(), 3 * torch.rand(1, 4, 40, 50)
    with torch.device("meta"):
        loaded = spanpp_core.load(weights).with_backend(backend)
        found = spanpp_core.upscale(loaded.at_scale(scale), image)
    assert not loaded.backends.failures
    view = model.at_scale(scale).with_backend(backend)
    assert torch.equal(found, spanpp_core.upscale(view, image))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_image_taken_from_a_batch_is_the_same_and_runs_the_same(make, dtype):
    """PyTorch does not see that the channels of ``frames[0][None]`` lie last."""
    model = make(channels=48).with_dtype(dtype)
    frames = torch.rand(1, 60, 50, 3).movedim(-1, 1)
    alone = frames[0][None]
    assert alone.stride() != frames.stride()
    assert torch.equal(
        spanpp_core.upscale(model, alone), spanpp_core.upscale(model, frames)
    )


def test_writes_into_what_it_is_given_and_leaves_the_image_alone(model):
    image = torch.rand(2, 7, 9, 3)  # (N, H, W, C) as a host may hold it
    before = image.clone()
    buffer = torch.empty(2, 14, 18, 3)
    out = buffer.movedim(-1, 1)
    result = spanpp_core.upscale(model, image.movedim(-1, 1), tile=16, out=out)
    assert result is out
    expected = untiled(model, image.movedim(-1, 1).contiguous())
    torch.testing.assert_close(buffer.movedim(-1, 1), expected)
    assert torch.equal(image, before)


def test_alike_tiles_run_as_one_batch(model, monkeypatch):
    sizes = []
    region = SpanPP.region

    def watched(self, x, scale, window):
        sizes.append(len(x))
        return region(self, x, scale, window)

    monkeypatch.setattr(SpanPP, "region", watched)
    spanpp_core.upscale(model, torch.rand(5, 3, 8, 8))
    assert sizes == [5]
    sizes.clear()
    spanpp_core.upscale(model, torch.rand(1, 3, 160, 160), tile=16)
    assert max(sizes) > 4
    assert sum(sizes) == 64


def test_progress_and_cancellation_per_tile(model):
    image = torch.rand(1, 3, 106, 106)
    reports: list[tuple[int, int]] = []

    class Stop(Exception):
        pass

    def watch(done: int, total: int) -> None:
        reports.append((done, total))
        if done >= 4:
            raise Stop

    with pytest.raises(Stop):
        spanpp_core.upscale(model, image, tile=16, on_progress=watch)
    assert reports[-1][0] >= 4
    assert all(total == 16 for _, total in reports)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(3, 8, 8), "(3, 8, 8)"),
        (torch.rand(1, 5, 8, 8), "(1, 5, 8, 8)"),
        (torch.rand(1, 3, 0, 8), "(1, 3, 0, 8)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "uint8"),
    ],
)
def test_wrong_images_are_named(model, image, message):
    with pytest.raises(ValueError, match="expected") as caught:
        spanpp_core.upscale(model, image)
    assert message in str(caught.value)


def test_wrong_out_and_tile_are_named(model):
    image = torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r"expected \(1, 3, 16, 16\)"):
        spanpp_core.upscale(model, image, out=torch.empty(1, 3, 15, 16))
    cut = spanpp_core.Size(width=15, height=10)
    for wrong in ((2, 3, 10, 15), (1, 3, 1, 15)):
        with pytest.raises(ValueError, match=r"expected \(1, 3, 10, 15\)"):
            spanpp_core.upscale(model, image, size=cut, out=torch.empty(wrong))
    whole_numbers = torch.empty(1, 3, 16, 16, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"out is torch.uint8; expected floating"):
        spanpp_core.upscale(model, image, out=whole_numbers)
    with pytest.raises(ValueError, match="tile is 0"):
        spanpp_core.upscale(model, image, tile=0)


def test_other_libraries_images_and_plain_numbers_are_named(model):
    image = torch.rand(1, 3, 8, 8)
    with pytest.raises(TypeError, match="image is a ndarray; expected a tensor"):
        spanpp_core.upscale(model, image.numpy())
    with pytest.raises(TypeError, match=r"size is 2; give a Size, such as"):
        spanpp_core.upscale(model, image, 2)
    with pytest.raises(ValueError, match="fractional is 'exact'; give one of"):
        spanpp_core.upscale(model, image, fractional="exact")


@pytest.mark.parametrize("factor", [1, 1.0001])
def test_a_result_is_not_written_where_the_image_is_still_read(model, factor):
    """At x1 it has the size of the image; tiles read beyond what they write."""
    frames, size = torch.rand(4, 3, 40, 40), spanpp_core.Size(factor=factor)
    for image, out in ((frames, frames), (frames[:2], frames[1:3])):
        with pytest.raises(ValueError, match="out lies in the memory of the image"):
            spanpp_core.upscale(model, image, tile=16, size=size, out=out)
    before = frames.clone()
    result = spanpp_core.upscale(model, frames[:2], tile=16, size=size, out=frames[2:])
    assert torch.equal(frames[:2], before[:2])
    assert torch.equal(
        result, spanpp_core.upscale(model, before[:2], tile=16, size=size)
    )
