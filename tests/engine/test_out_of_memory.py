"""Where memory runs out, smaller batches and tiles are tried, and only what failed again."""

from __future__ import annotations

import pytest
import torch

import spanpp_core
from spanpp_core.backends import is_out_of_memory
from spanpp_core.engine import tiled
from spanpp_core.network.model import SpanPP


@pytest.mark.parametrize("limit", [3500, 6000])
@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_backs_off_and_finishes(model, monkeypatch, limit, error):
    """Batches and tiles of more than ``limit`` pixels fail; only they are redone."""
    seen = []
    region = SpanPP.region

    def scarce(self, x, scale, window):
        pixels = x.shape[0] * x.shape[2] * x.shape[3]
        seen.append(pixels)
        if pixels > limit:
            raise error
        return region(self, x, scale, window)

    image = torch.rand(3, 3, 70, 50)
    with torch.no_grad():
        expected = model.model(image).clamp(0, 1)
    monkeypatch.setattr(SpanPP, "region", scarce)
    reports = []
    result = spanpp_core.upscale(
        model, image, on_progress=lambda done, total: reports.append((done, total))
    )
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    assert reports[-1][0] == reports[-1][1]
    failures = [pixels for pixels in seen if pixels > limit]
    assert failures == sorted(set(failures), reverse=True), (
        "tried a size that had failed"
    )


def test_what_pytorch_keeps_is_returned_before_a_smaller_tile_runs(model, monkeypatch):
    """On GPUs it lies in pieces of the size of the tile that was too large."""
    order: list[str] = []
    region = SpanPP.region

    def scarce(self, x, scale, window):
        order.append("full" if x.shape[-1] > 70 else "ran")
        if order[-1] == "full":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return region(self, x, scale, window)

    monkeypatch.setattr(SpanPP, "region", scarce)
    monkeypatch.setattr(tiled, "empty_cache", lambda device: order.append("emptied"))
    spanpp_core.upscale(model, torch.rand(1, 3, 20, 90))
    assert order == ["full", "emptied", "ran", "ran"]


def test_no_memory_at_all_is_one_line(model, monkeypatch):
    def none(self, x, scale, window):
        raise MemoryError("full")

    monkeypatch.setattr(SpanPP, "region", none)
    with pytest.raises(MemoryError, match="free some memory on cpu"):
        spanpp_core.upscale(model, torch.rand(1, 3, 70, 70))


def test_other_errors_are_not_mistaken_for_memory(model, monkeypatch):
    def broken(self, x, scale, window):
        raise RuntimeError("something else")

    monkeypatch.setattr(SpanPP, "region", broken)
    with pytest.raises(RuntimeError, match="something else"):
        spanpp_core.upscale(model, torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "HIP out of memory",
        "MPS backend out of memory",
        "DefaultCPUAllocator: can't allocate memory",
        "GET was unable to find an engine to execute this computation",
        "FIND was unable to find an engine to execute this computation",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
    ],
)
def test_a_full_memory_halves_the_work_whatever_it_is_called(
    model, monkeypatch, message
):
    image = torch.rand(1, 3, 60, 90)
    expected = spanpp_core.upscale(model, image)
    region = SpanPP.region

    def short(self, x, scale, window):
        if x.shape[-1] * x.shape[-2] > 70**2:
            raise RuntimeError(message)
        return region(self, x, scale, window)

    monkeypatch.setattr(SpanPP, "region", short)
    result = spanpp_core.upscale(model.with_backend("torch"), image)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_other_errors_are_not_taken_for_a_full_memory():
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("x"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))
