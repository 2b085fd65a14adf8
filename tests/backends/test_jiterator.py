"""The kernels that PyTorch's jiterator compiles, compiled for a CPU."""

from __future__ import annotations

import logging

import jiterator_emulator
import pytest
import torch
import torch.nn.functional as F
from cuda_emulator import needs_compiler
from torch import Tensor

import spanpp_core
from spanpp_core import upscale
from spanpp_core.backends import jiterator_kernels
from spanpp_core.backends.jiterator import JiteratorRunner

MOST = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""The largest error, relative to the largest value: a rounding to the dtype, or two."""


@pytest.fixture
def _emulated(monkeypatch, _compiled_kernels):
    """On the CPU, as long as a test lasts."""
    with monkeypatch.context() as patch:
        jiterator_emulator.install(patch, _compiled_kernels)
        yield
    jiterator_kernels._kernel.cache_clear()


def maps(dtype: torch.dtype, count: int) -> list[Tensor]:
    """Channels last, as a GPU has them, and in another layout, as it may have, too."""
    generator = torch.Generator().manual_seed(0)
    drawn = [4 * torch.randn(2, 5, 6, 7, generator=generator) for _ in range(count)]
    first, *rest = (each.to(dtype) for each in drawn)
    return [first.contiguous(memory_format=torch.channels_last), *rest]


def assert_close(made: Tensor, exact: Tensor, dtype: torch.dtype) -> None:
    assert made.dtype == dtype
    off = (made.float() - exact).abs().max() / exact.abs().max()
    assert off <= MOST[dtype]


@needs_compiler
@pytest.mark.usefixtures("_emulated")
@pytest.mark.parametrize("dtype", MOST, ids=str)
def test_every_kernel_computes_its_formula(dtype):
    (y, x), bias = maps(dtype, 2), torch.randn(5).to(dtype)
    given = y.clone()
    o = y.float() + bias.float().view(-1, 1, 1)
    assert_close(jiterator_kernels.silu_(y, bias), F.silu(o), dtype)
    gate = (o + x.float()) * (o.sigmoid() - 0.5)
    assert_close(jiterator_kernels.residual_gate_(y, bias, x), gate, dtype)
    assert_close(jiterator_kernels.add_bias(y, bias, dtype), o, dtype)
    assert torch.equal(y, given), "it is not written to"


@needs_compiler
@pytest.mark.usefixtures("_emulated")
@pytest.mark.parametrize("dtype", MOST, ids=str)
def test_the_last_sum_is_in_the_dtype_of_the_ends(dtype):
    """In bfloat16 they are float32, in which it is summed. The bias always is."""
    ends = torch.float32 if dtype == torch.bfloat16 else dtype
    a, b, c = maps(dtype, 3)
    last, bias = maps(ends, 1)[0], torch.randn(5)
    exact = sum(each.float() for each in (a, b, c, last)) + bias.view(-1, 1, 1)
    assert_close(jiterator_kernels.sum_bias_((a, b, c), bias, last), exact, ends)


@needs_compiler
@pytest.mark.usefixtures("_emulated")
@pytest.mark.parametrize("dtype", MOST, ids=str)
def test_every_block_is_that_of_float32(dtype):
    """With the bundled weights, to a few roundings of the maps between."""
    model = spanpp_core.load(spanpp_core.bundled_model())
    x = torch.rand(1, 3, 16, 20, generator=torch.Generator().manual_seed(0))
    network = model.with_dtype(dtype).model
    runner = JiteratorRunner(network)  # which compares itself with PyTorch, too
    exact = model.model.conv0(x)
    for index in range(6):
        given = exact
        exact, _ = model.model.get_submodule(f"block_{index + 1}")(given)
        made, _ = runner._block(index, given.to(dtype))
        off = (made.float() - exact).abs().max() / exact.abs().max()
        assert off <= 4 * MOST[dtype], f"block {index + 1}"
    assert runner.features(x).dtype == network.features(x).dtype


@needs_compiler
@pytest.mark.usefixtures("_emulated")
@pytest.mark.parametrize("scale", [2, 2.5])
def test_upscaled_by_it_an_image_is_the_same(model, images, scale):
    view = model.at_scale(scale)
    expected = upscale(view.with_backend("torch"), images)
    found = upscale(view.with_backend("jiterator"), images, tile=40)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not model.backends.failures
    assert [kind for kind, _ in model.backends._runners] == ["jiterator"]


def test_where_pytorch_has_no_gpu_it_is_one_line_and_pytorch_runs(
    model, images, caplog
):
    with caplog.at_level(logging.WARNING, "spanpp"):
        found = upscale(model.with_backend("jiterator"), images)
    assert torch.equal(found, upscale(model.with_backend("torch"), images))
    assert len(caplog.messages) == 1
    assert "jiterator" in caplog.messages[0]
