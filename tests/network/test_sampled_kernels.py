"""Kernels sampled at nodes: exact positions, the same in every tile, any dtype."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import training_network
from torch.utils._python_dispatch import TorchDispatchMode

import spanpp_core
from spanpp_core.network import kernels
from spanpp_core.network.kernels import NODES, SampledKernels, interpolation, nodes
from spanpp_core.network.model import SpanPP
from spanpp_core.network.scale import Window, cell_of, grid_scale

CPU = torch.device("cpu")


def _window(height: int, width: int, scale: Fraction) -> Window:
    return Window(0, 0, range(round(height * scale)), range(round(width * scale)))


@pytest.mark.parametrize("scale", [2.73, 7.77, 1.003, 3.7, 1.3333])
def test_every_pixel_interpolates_between_the_nodes(model, scale: float):
    """Pixel by pixel from the definition: cell, coordinate, Lagrange's polynomials."""
    network: SpanPP = model.model.double()
    x = torch.rand(1, 3, 7, 6, dtype=torch.float64)
    at = nodes()
    with torch.no_grad():
        padded = torch.nn.functional.pad(network.features(x), (1, 1, 1, 1))
        sampled = network.upsampler.kernels_at(at, at, scale).double()
        sampled = sampled.view(3, NODES, NODES, *padded.shape[1:2], 3, 3)
        y = network.at_scale(scale)(x)
        for row, col in ((0, 0), (1, 3), (4, 2), (y.shape[2] - 1, y.shape[3] - 1)):
            centres = [(i + 0.5) / scale for i in (row, col)]
            cells = [int(centre) for centre in centres]
            along_y, along_x = (
                _lagrange(2 * (centre - cell) - 1)
                for centre, cell in zip(centres, cells)
            )
            kernel = torch.einsum("cabiyx,a,b->ciyx", sampled, along_y, along_x)
            seen = padded[0, :, cells[0] : cells[0] + 3, cells[1] : cells[1] + 3]
            expected = (kernel * seen).sum((1, 2, 3))
            torch.testing.assert_close(y[0, :, row, col], expected, rtol=0, atol=1e-6)


def _lagrange(at: float) -> torch.Tensor:
    weights = [1.0] * NODES
    for i, node in enumerate(nodes()):
        for other in nodes():
            if other != node:
                weights[i] *= (at - other) / (node - other)
    return torch.tensor(weights, dtype=torch.float64)


@given(st.floats(1, 8), st.integers(0, 100_000), st.integers(1, 40))
def test_positions_are_exact_and_weights_sum_to_one(scale, first: int, count: int):
    """A ramp over the image is interpolated as the ramp that it is."""
    grid = grid_scale(scale)
    pixels = range(first, first + count)
    axis = interpolation(pixels, grid, torch.float64, CPU)
    matrix = axis.matrix.flatten(0, 1)[axis.index]
    torch.testing.assert_close(
        matrix.sum(1), torch.ones(count, dtype=torch.float64), rtol=0, atol=1e-12
    )
    at = torch.tensor(nodes(), dtype=torch.float64)
    blocks = axis.index // axis.matrix.shape[1]
    cells = axis.cells.start + torch.arange(len(axis.cells)).view(len(axis.matrix), -1)
    ramp = (cells[..., None] + (at + 1) / 2).flatten(1)[blocks]
    centres = [float((i + Fraction(1, 2)) / grid) for i in pixels]
    expected = torch.tensor(centres, dtype=torch.float64)
    assert ((matrix * ramp).sum(1) - expected).abs().max() < 1e-9
    assert axis.cells.start == cell_of(first, grid)


@settings(max_examples=15, deadline=None)
@given(st.floats(1.001, 7.9), st.sampled_from([1, 2, 3]), st.data())
def test_a_tile_is_cut_from_the_whole(scale: float, batch: int, data):
    """To 1e-12 in float64, wherever the tile begins and however odd its size."""
    grid = grid_scale(scale)
    torch.manual_seed(0)
    kernel = torch.randn(3 * NODES**2, 2, 3, 3, dtype=torch.float64)
    sampled = SampledKernels(grid, kernel)
    features = torch.randn(batch, 2, 23, 41, dtype=torch.float64)
    window = _window(23, 41, grid)
    whole = sampled.render(features, window)
    top = data.draw(st.integers(0, 12))
    left = data.draw(st.integers(0, 30))
    rows = [i for i in window.rows if top + 1 <= cell_of(i, grid) < top + 9]
    cols = [i for i in window.cols if left + 1 <= cell_of(i, grid) < left + 8]
    part = sampled.render(
        features[:, :, top : top + 10, left : left + 9],
        Window(top, left, range(rows[0], rows[-1] + 1), range(cols[0], cols[-1] + 1)),
    )
    expected = whole[:, :, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    assert (part - expected).abs().max() < 1e-12 * whole.abs().max()


@pytest.mark.parametrize("band", [1, 2**30])
def test_bands_do_not_show(model, monkeypatch, band: int):
    x = torch.rand(2, 3, 50, 21)
    expected = model.at_scale(2.73).model(x)
    monkeypatch.setattr(kernels, "BAND_BYTES", {"cpu": band})
    torch.testing.assert_close(model.at_scale(2.73).model(x), expected)


class Operators(TorchDispatchMode):
    """Counts what is asked of the device: on a GPU, mostly launches."""

    count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.count += 1
        return operator(*args, **(kwargs or {}))


def test_a_gpu_renders_a_larger_tile_in_no_more_launches(model):
    """Nothing is done row by row there, or position by position."""
    device, dtype, scale = torch.device("meta"), torch.float16, Fraction(273, 100)
    made = model.model.upsampler.sampled_kernels(scale).to(device, dtype)
    counts = []
    for side in (32, 256):
        features = torch.empty(1, 4, side, side, dtype=dtype, device=device)
        window = _window(side, side, scale)
        made.render(features, window)  # its tables are made once
        with Operators() as operators:
            made.render(features, window)
        counts.append(operators.count)
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("scale", "least"), [(2, 60), (3, 60), (1.5, 60), (2.5, 60)])
def test_interpolated_kernels_are_near_the_exact_ones(scale: float, least: float):
    """On the bundled weights and photo, in dB; the exact ones are the definition."""
    network = spanpp_core.load(spanpp_core.bundled_model()).model
    grid = grid_scale(scale)
    photo = _photo()
    window = _window(*photo.shape[-2:], grid)
    with torch.no_grad():
        features = network.features(photo)
        exact = network.upsampler.exact_kernels(grid).render(features, window)
        sampled = network.upsampler.sampled_kernels(grid).render(features, window)
    error = (exact - sampled).square().mean()
    assert -10 * error.log10() > least


def _photo() -> torch.Tensor:
    image = pytest.importorskip("PIL.Image").open(spanpp_core.bundled_photo())
    crop = image.convert("RGB").crop((300, 200, 396, 264))
    pixels = torch.frombuffer(bytearray(crop.tobytes()), dtype=torch.uint8)
    return pixels.view(1, 64, 96, 3).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-6), (torch.float16, 0.02), (torch.bfloat16, 0.05)],
)
def test_dtypes(model, dtype: torch.dtype, tolerance: float):
    x = torch.rand(1, 3, 9, 8)
    expected = model.at_scale(3.7).model(x)
    y = model.with_dtype(dtype).at_scale(3.7).model(x)
    assert y.dtype == torch.float32
    assert (y - expected).abs().max() <= tolerance * expected.abs().max()


def test_training_network_renders_and_learns_at_any_scale():
    network = training_network()
    y = network(torch.rand(2, 3, 8, 8), 2.73)
    y.square().mean().backward()
    assert y.shape == (2, 3, 22, 22)
    for name, parameter in network.upsampler.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_tables_made_in_inference_mode_serve_outside(model):
    x = torch.rand(1, 3, 6, 5)
    interpolation.cache_clear()
    with torch.inference_mode():
        model.at_scale(2.73).model(x)
    x.requires_grad_(True)
    model.at_scale(2.73).model(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 2)])
@pytest.mark.parametrize("scale", [1.001, 2.73, 7.999])
def test_small_images(model, size: tuple[int, int], scale: float):
    y = model.at_scale(scale).model(torch.rand(1, 3, *size))
    assert y.shape == (1, 3, round(size[0] * scale), round(size[1] * scale))
    assert y.isfinite().all()
