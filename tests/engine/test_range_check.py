"""Images are looked at for values outside [0, 1] while the network runs on them.

A processor plays the GPU.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import spanpp_core
from spanpp_core import prepare
from spanpp_core.engine import dynamic_range
from spanpp_core.network.model import SpanPP


@pytest.fixture
def pixels_run(monkeypatch) -> list[int]:
    """How many pixels the network has read, call by call."""
    seen: list[int] = []
    region = SpanPP.region

    def noting(self, x, grid, window):
        seen.append(x[:, 0].numel())
        return region(self, x, grid, window)

    monkeypatch.setattr(SpanPP, "region", noting)
    return seen


def wide(frames: int = 1) -> Tensor:
    """Images with a few values far above 1."""
    images = torch.rand(frames, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    images[-1, :, 9:12, 20:23] = 7
    return images


@pytest.mark.parametrize("tile", [None, 20])
@pytest.mark.parametrize("frames", [1, 3])
def test_wide_images_are_the_same_when_a_gpu_began_with_them_in_vain(
    model, monkeypatch, pixels_run, tile, frames
):
    """Only the first tiles are run in vain."""
    images, progress = wide(frames), []
    expected = prepare(model, (40, 50), tile=tile).run(images)
    needed = len(pixels_run)
    run = prepare(model, (40, 50), tile=tile or 50, device=torch.device("cuda"))
    run = run.with_free_memory(10**9)
    found = run.run(images, on_progress=lambda *done: progress.append(done))
    assert torch.equal(found, expected)
    assert len(pixels_run) - needed == needed + 1
    shares = [done / total for done, total in progress]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_on_a_processor_nothing_is_run_in_vain(model, pixels_run):
    spanpp_core.upscale(model, wide())
    assert pixels_run == [40 * 50] * 2, "clipped, and on the curve"


def test_nothing_is_written_before_the_image_was_looked_at(model, monkeypatch):
    out = torch.full((1, 3, 80, 100), -1.0)
    seen: list[bool] = []
    numbers = dynamic_range._numbers

    def looked(ends: Tensor) -> tuple[float, float]:
        seen.append(bool((out == -1).all()))
        return numbers(ends)

    monkeypatch.setattr(dynamic_range, "_numbers", looked)
    run = prepare(model, (40, 50), tile=20, device=torch.device("cuda"))
    run.run(torch.rand(1, 3, 40, 50), out=out)
    assert seen == [True]
    assert not (out == -1).any()


def test_an_image_is_looked_at_again_if_memory_ran_out_meanwhile(model, monkeypatch):
    expected = prepare(model, (40, 50)).run(wide())
    numbers, times = dynamic_range._numbers, []

    def looked(ends: Tensor) -> tuple[float, float]:
        times.append(1)
        if len(times) == 1:
            raise MemoryError
        return numbers(ends)

    monkeypatch.setattr(dynamic_range, "_numbers", looked)
    found = prepare(model, (40, 50), tile=50, device=torch.device("cuda")).run(wide())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_run_says_which_values_are_outside(model, device):
    run = prepare(model, (40, 50), tile=50, device=torch.device(device))
    said: list[tuple[float, float]] = []
    run.run(wide().clamp(0, 1), on_outside=said.append)
    assert not said
    run.run(wide(), on_outside=said.append)
    assert said == [spanpp_core.values_outside(wide())]
