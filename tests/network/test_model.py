"""Scales, sizes, dtypes and views of the inference network."""

from __future__ import annotations

import copy
import functools
import pickle
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, training_network

import spanpp_core
from spanpp_core.network.body import Body
from spanpp_core.network.kernels import ExactKernels
from spanpp_core.network.model import SpanPP
from spanpp_core.network.scale import Window

SCALES = (1, 1.5, 2, 2.5, 3, 3.7, 4, 5, 8, 4 / 3, 2.73)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("scale", SCALES)
def test_output_size_is_rounded_as_python_does(make, kernel_size, scale):
    view = make(kernel_size=kernel_size).at_scale(scale)
    for height, width in ((1, 1), (3, 5), (17, 9)):
        y = view.model(torch.rand(1, 3, height, width))
        assert y.shape == (1, 3, round(height * scale), round(width * scale))
        assert y.isfinite().all()


@pytest.mark.parametrize("in_channels", [1, 3])
def test_composed_layers_are_those_of_the_body(make, in_channels):
    network: SpanPP = make(in_channels=in_channels).model.double()
    x = torch.rand(2, in_channels, 9, 7, dtype=torch.float64)
    with torch.no_grad():
        expected = Body.features(network, x)
        assert (network.features(x) - expected).abs().max() < 1e-12
    assert all(part.is_contiguous() for part in network.last_layers())


@pytest.mark.parametrize("scale", SCALES)
def test_of_no_images_there_are_no_results(model, scale):
    y = model.at_scale(scale).model(torch.empty(0, 3, 9, 7))
    assert y.shape == (0, 3, round(9 * scale), round(7 * scale))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [2, 1.5])
def test_an_image_taken_from_a_batch_gives_the_same_pixels(make, scale, dtype):
    """Though PyTorch does not see that the channels of ``frames[0][None]`` lie last."""
    network = make(channels=48).at_scale(scale).with_dtype(dtype).model
    frames = torch.rand(1, 60, 50, 3).movedim(-1, 1)
    assert torch.equal(network(frames[0][None]), network(frames))


@pytest.mark.parametrize("scale", [Fraction(3, 2), Fraction(5, 2), Fraction(9, 4)])
def test_every_pixel_is_the_kernel_of_its_position(model, scale: Fraction):
    """Pixel by pixel from the definition: cell, coordinate, kernel, sum of products."""
    network: SpanPP = model.model.double()
    x = torch.rand(1, 3, 6, 5, dtype=torch.float64)
    with torch.no_grad():
        features = network.features(x)
        padded = torch.nn.functional.pad(features, (1, 1, 1, 1))
        y = network.at_scale(float(scale))(x)
        for row, col in ((0, 0), (1, 3), (4, 2), (7, 6), (y.shape[2] - 3, 1)):
            at = [(i + Fraction(1, 2)) / scale for i in (row, col)]
            cells = [int(a) for a in at]
            relative = [2 * float(a - cell) - 1 for a, cell in zip(at, cells)]
            kernel = network.upsampler.kernels_at(
                relative[:1], relative[1:], float(scale)
            ).double()
            seen = padded[0, :, cells[0] : cells[0] + 3, cells[1] : cells[1] + 3]
            expected = (kernel * seen).sum((1, 2, 3))
            torch.testing.assert_close(y[0, :, row, col], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 7])
def test_fractional_path_equals_the_whole_one(model, scale: int):
    """A whole scale s written as 2s/2 gives the image of s."""
    upsampler = model.model.upsampler
    features = torch.rand(1, TINY.channels, 8, 6)
    window = Window(0, 0, range(8 * scale), range(6 * scale))
    with torch.no_grad():
        kernels = upsampler.exact_kernels(Fraction(scale))
        expected = kernels.render(features, window)
        whole = kernels.weight.unflatten(0, (3, scale, scale))
        rows = (
            torch.cat([F.pad(whole, (b, 1 - b, a, 1 - a)) for b in (0, 1)], 2)
            for a in (0, 1)
        )
        weight = torch.cat(list(rows), 1).flatten(0, 2)
        result = ExactKernels(_Period2(scale), weight).render(features, window)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)


class _Period2(Fraction):
    """A whole scale s written as 2s/2, which `Fraction` would reduce."""

    numerator = property(lambda self: 2 * int(self))
    denominator = property(lambda self: 2)


@functools.cache
def loaded() -> spanpp_core.SpanPPDescriptor:
    """One model for all examples: the kernels of fine fractions take a while."""
    return spanpp_core.load(training_network().state_dict())


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from(SCALES),
    st.integers(1, 3),
)
def test_batch_equals_loop(height: int, width: int, scale: float, count: int):
    model = loaded().at_scale(scale)
    x = torch.rand(count, 3, height, width)
    one_by_one = torch.cat([model.model(image[None]) for image in x])
    torch.testing.assert_close(model.model(x), one_by_one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
@pytest.mark.parametrize("network_dtype", [torch.float32, torch.bfloat16])
def test_any_input_dtype_comes_back(model, dtype, network_dtype):
    x = torch.rand(1, 3, 8, 8)
    expected = model.model(x)
    y = model.to(network_dtype).model(x.to(dtype))
    assert y.dtype == dtype
    assert (y.float() - expected).abs().max() < 0.05 * expected.abs().max()


def test_generator_stays_float32(model):
    before = model.model.upsampler.freq.clone()
    model.half()
    assert model.dtype == torch.float16
    assert model.model.upsampler.freq.dtype == torch.float32
    assert torch.equal(model.model.upsampler.freq, before)


def test_view_shares_storage_and_leaves_the_model_alone(model):
    model.patcher = object()
    view = model.at_scale(2.5)
    assert (model.scale, model.model.scale) == (2, 2)
    assert (view.scale, view.model.scale) == (2.5, 2.5)
    assert view.patcher is model.patcher
    ours, theirs = model.model.state_dict(), view.model.state_dict()
    assert all(ours[key].data_ptr() == theirs[key].data_ptr() for key in ours)
    view.half()
    assert model.dtype == torch.float16
    assert type(view.at_scale(3.0).scale) is int


def test_a_pixel_on_the_very_edge_repeats_its_neighbour(model):
    """5 x 1.5 = 7.5 is rounded up to 8, and the last centre lies at 5.0."""
    view = model.at_scale(1.5)
    y = view.model(torch.rand(1, 3, 5, 5))
    assert torch.equal(y[..., 7, :], y[..., 6, :])
    assert torch.equal(y[..., 7], y[..., 6])
    assert not torch.equal(y[..., 6], y[..., 5])


def test_copies_do_not_carry_kernels(model):
    model.at_scale(8)(torch.rand(1, 3, 4, 4))
    copied = pickle.loads(pickle.dumps(model.model))
    assert copied.upsampler._made == {}
    x = torch.rand(1, 3, 4, 4)
    assert torch.equal(copied(x), model.model(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_random_numbers_are_drawn_of_the_program_around(dtype):
    weights = spanpp_core.read(spanpp_core.bundled_model())
    before = torch.get_rng_state()
    model = spanpp_core.load(weights)
    spanpp_core.prepare(model, (8, 8), dtype=dtype).run(torch.zeros(1, 3, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_views_nest_and_do_not_see_each_other(model):
    x = torch.rand(1, 3, 6, 6)
    two, three = model.at_scale(2), model.at_scale(2).at_scale(3)
    expected = two.model(x)
    assert three.model(x).shape == (1, 3, 18, 18)
    assert torch.equal(two.model(x), expected)


def test_deep_copy_is_independent(model):
    other = copy.deepcopy(model.model)
    x = torch.rand(1, 3, 5, 5)
    assert torch.equal(other(x), model.model(x))
    with torch.no_grad():
        other.conv_cat.weight.zero_()
    assert not torch.equal(other(x), model.model(x))


@pytest.mark.parametrize(("kernel_size", "halo"), [(1, 20), (3, 21), (5, 22)])
def test_halo_is_the_receptive_radius(make, kernel_size: int, halo: int):
    """Seen from the gradient of one output pixel; weights made positive so that no
    path cancels another."""
    model = make(kernel_size=kernel_size)
    assert model.model.halo == halo
    network = model.model.double().at_scale(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("rep.weight"):
                tensor.abs_().add_(0.1)
    size = 2 * halo + 9
    x = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    centre = size // 2
    network(x)[0, :, centre, centre].abs().sum().backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert (int(rows.min()), int(rows.max())) == (centre - halo, centre + halo)


def test_state_dict_is_contiguous_and_is_the_weights(model):
    """safetensors writes nothing else, and hosts save models through it."""
    for name, tensor in model.model.state_dict().items():
        assert tensor.is_contiguous(), name
    weight = model.model.conv_cat.weight
    assert model.model.state_dict()["conv_cat.weight"].data_ptr() == weight.data_ptr()


@pytest.mark.parametrize("scale", [1, 3])
def test_traced_network_takes_any_size(model, scale):
    """What a host's ONNX export sees: the kernel a constant, no size baked in."""
    view = model.at_scale(scale)
    x = torch.rand(2, 3, 13, 5)
    with torch.no_grad():
        traced = torch.jit.trace(view.model, torch.rand(1, 3, 8, 8))
        torch.testing.assert_close(traced(x), view.model(x))
