"""Jobs that have begun before others are ended, and float32 that is exact on CUDA."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from spanpp_core import upscale
from spanpp_core.engine import tile_size, tiled
from spanpp_core.engine.pipeline import Job, Pipeline
from spanpp_core.engine.tile_plan import Plan
from spanpp_core.network.scale import Window


class Late(Pipeline):
    """On the CPU, what CUDA does: pixels come into their place when a job is ended."""

    def __init__(self, *given, **named) -> None:
        super().__init__(*given, **named)
        self.ahead = 1
        self.open = 0

    def begin(self, job: Job) -> Callable[[], None]:
        self.open += 1
        assert self.open <= 2, "more than one job is ahead"
        aside = Job(job.source, torch.empty_like(job.target), job.items)
        super().begin(aside)

        def end() -> None:
            self.open -= 1
            for place, made in zip(job.places(), aside.places()):
                place.copy_(made)

        return end


def test_results_and_progress_are_the_same_when_ended_late(model, monkeypatch):
    image = torch.rand(2, 4, 60, 90)
    seen: dict[type[Pipeline], list[tuple[int, int]]] = {Pipeline: [], Late: []}
    results = []
    for kind, progress in seen.items():
        monkeypatch.setattr(tiled, "Pipeline", kind)
        monkeypatch.setattr(tile_size, "pixels_that_fit", lambda *_, **__: 1)
        results.append(
            upscale(
                model,
                image,
                tile=25,
                on_progress=lambda d, t, to=progress: to.append((d, t)),
            )
        )
    assert torch.equal(*results)
    assert seen[Late] == seen[Pipeline]


def test_running_out_of_memory_ends_what_has_begun(model, monkeypatch):
    class Full(Late):
        def begin(self, job: Job) -> Callable[[], None]:
            if job.pixels > 70 * 70:
                raise MemoryError
            return super().begin(job)

    image = torch.rand(1, 3, 90, 120)
    expected = upscale(model, image)
    monkeypatch.setattr(tiled, "Pipeline", Full)
    result = upscale(model, image)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


class ExactRegion:
    """Notes whether TF32 was allowed while the pixels were computed."""

    def __init__(self) -> None:
        self.allowed: list[bool] = []

    def __call__(self, x: Tensor, scale: Fraction, window: Window) -> Tensor:
        self.allowed.append(torch.backends.cudnn.allow_tf32)
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.mark.parametrize("before", [True, False])
def test_float32_is_computed_without_tf32_on_cuda(monkeypatch, before):
    """Else a 16-bit image would get the accuracy of float16."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
    cuda = torch.device("cuda", 0)
    monkeypatch.setattr(Job, "batch", lambda job: _OnItsWay(job.source))
    region, image = ExactRegion(), torch.rand(1, 3, 8, 8)
    plan = Plan.of(8, 8, 2, 1)
    job = Job(image, torch.empty(1, 3, 16, 16), [(0, next(iter(plan.tiles(8))))])
    Pipeline(region, plan, cuda, jobs=1).begin(job)()
    assert region.allowed == [False]
    assert torch.backends.cudnn.allow_tf32 == before
    assert torch.equal(job.target[..., ::2, ::2], image)


class _OnItsWay:
    """A batch that stays in main memory when it is moved to a GPU."""

    def __init__(self, batch: Tensor) -> None:
        self._batch = batch

    def to(
        self, device: torch.device, *, dtype: torch.dtype, non_blocking: bool
    ) -> Tensor:
        assert (device.type, dtype) == ("cuda", self._batch.dtype)
        return self._batch
