"""Jobs that have begun before others are ended, and CUDA where there is one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from spanpp_core import upscale
from spanpp_core.engine import run
from spanpp_core.engine.pipeline import Job, Pipeline

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA card"
)


class Late(Pipeline):
    """On the CPU, what CUDA does: pixels come into their place when a job is ended."""

    def __init__(self, *given) -> None:
        super().__init__(*given)
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
        monkeypatch.setattr(run, "Pipeline", kind)
        monkeypatch.setattr(run, "pixels_that_fit", lambda *_, **__: 1)
        results.append(
            upscale(model, image, 25, lambda d, t, to=progress: to.append((d, t)))
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
    monkeypatch.setattr(run, "Pipeline", Full)
    result = upscale(model, image)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


@needs_cuda
@pytest.mark.parametrize("backend", ["torch", "compile"])
@pytest.mark.parametrize("scale", [2, 2.5])
def test_cuda_gives_the_pixels_of_the_cpu(make, backend, scale):
    image = torch.rand(3, 4, 90, 130)
    model = make().at_scale(scale).with_backend("torch")
    expected = upscale(model, image)
    on_card = make().to("cuda").at_scale(scale).with_backend(backend)
    out = torch.empty_like(expected).pin_memory()
    for tile in (None, 40):
        upscale(on_card, image, tile, out=out.zero_())
        torch.testing.assert_close(out, expected, rtol=2e-3, atol=2e-3)
        upscaled = upscale(on_card, image.cuda(), tile)
        torch.testing.assert_close(upscaled.cpu(), expected, rtol=2e-3, atol=2e-3)


@needs_cuda
def test_frames_one_after_the_other_do_not_mix(make):
    frames = torch.rand(6, 3, 64, 64)
    model = make().to("cuda").with_backend("compile")
    together = upscale(model, frames, memory=1)
    for frame, result in zip(frames, together):
        alone = upscale(model, frame[None])[0]
        torch.testing.assert_close(alone, result, rtol=2e-3, atol=2e-3)
