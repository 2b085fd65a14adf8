"""A backend that is missing or fails is one line, and PyTorch goes on."""

from __future__ import annotations

import logging
import sys
from fractions import Fraction

import pytest
import torch

from spanpp_core import upscale
from spanpp_core.backends import fallback, selection
from spanpp_core.network.scale import Window


@pytest.mark.parametrize("missing", ["openvino", "openvino.opset13"])
def test_a_missing_backend_is_one_line_and_pytorch(
    model, images, monkeypatch, caplog, missing
):
    if missing != "openvino":
        pytest.importorskip("openvino", reason="optional: spanpp[openvino]")
        monkeypatch.delattr(missing, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    view = model.with_backend("openvino")
    with caplog.at_level(logging.WARNING):
        results = [upscale(view, images) for _ in range(2)]
    expected = upscale(model.with_backend("torch"), images)
    assert all(torch.equal(result, expected) for result in results)
    [line] = caplog.messages
    assert "openvino cannot be used" in line
    assert "\n" not in line


def test_a_compiler_that_fails_is_one_line_and_pytorch(
    model, images, monkeypatch, caplog
):
    def broken(function, **how):
        def run(x):
            raise RuntimeError("no C++ compiler\nand a long story")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    view = model.with_backend("compile")
    with caplog.at_level(logging.WARNING):
        results = [upscale(view, images) for _ in range(2)]
    expected = upscale(model.with_backend("torch"), images)
    assert all(torch.equal(result, expected) for result in results)
    [line] = caplog.messages
    assert line.endswith("no C++ compiler")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/cache/tmp{}/k.cu(3): error: no such word", "k.cu(3): error: no such word"),
        (r"C:\Temp\tmp{}\k.cu(3): error", "k.cu(3): error"),
        ("in '/home/a/{}/k.cu' and 1/2", "in 'k.cu' and 1/2"),
        ("see http://one.org/two/three/", "see http://one.org/two/three/"),
    ],
)
def test_a_reason_is_told_once_in_whichever_folder_a_compiler_worked(
    caplog, said, told
):
    fallback._log_once.cache_clear()
    reasons = {
        fallback.log_fallback("cupy", RuntimeError(said.format(number)))
        for number in range(3)
    }
    assert reasons == {told}
    assert len(caplog.messages) == 1


class Failing:
    """A backend that runs for a while and then raises an error at every call."""

    error: Exception = RuntimeError("recording is not permitted\nand a long story")
    calls = 0

    def __init__(self, network):
        pass

    @staticmethod
    def map_channels(channels, dtype, device):
        return channels

    def region(self, network):
        def run(x, scale, window):
            type(self).calls += 1
            if self.calls >= 3:
                raise self.error
            return network.region(x, scale, window)

        return run

    def trim(self):
        pass


@pytest.fixture
def failing(monkeypatch):
    monkeypatch.setattr(Failing, "calls", 0)
    monkeypatch.setitem(selection.RUNNERS, "triton", Failing)
    return Failing


def test_a_backend_that_fails_at_a_later_call_is_one_line_and_pytorch(
    model, images, failing, caplog
):
    expected = upscale(model.with_backend("torch"), images, tile=16)
    view = model.with_backend("triton")
    with caplog.at_level(logging.WARNING):
        results = [upscale(view, images, tile=16, memory=1) for _ in range(2)]
    for result in results:
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    [line] = caplog.messages
    assert line.endswith("recording is not permitted")
    assert failing.calls == 3, "a backend that failed is not asked again"


def test_where_triton_fails_auto_takes_the_jiterator(
    model, images, failing, monkeypatch, caplog
):
    """Triton needs a C compiler, which containers may lack."""

    def no_compiler(self, network):
        raise RuntimeError("Failed to find C compiler")

    class Broken(Failing):
        __init__ = no_compiler

    monkeypatch.setitem(selection.RUNNERS, "triton", Broken)
    monkeypatch.setitem(selection.RUNNERS, "jiterator", failing)
    best = {"auto": "triton", "triton": "triton", "torch": "torch"}
    monkeypatch.setattr(
        selection, "fastest_backend", lambda network, backend, *_: best[backend]
    )
    expected = upscale(model.with_backend("torch"), images)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(upscale(model, images), expected)
        assert failing.calls == 1
        upscale(model.with_backend("triton"), images)
        assert failing.calls == 1, "asked for by name, nothing stands in"
        for _ in range(3):
            assert torch.equal(upscale(model, images), expected)
    assert failing.calls == 3, "it fails, too"
    assert "Failed to find C compiler" in caplog.messages[0]
    assert "recording is not permitted" in caplog.messages[1]
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
)
def test_running_out_of_memory_is_no_failure_of_a_backend(
    model, images, failing, monkeypatch, error, caplog
):
    monkeypatch.setattr(failing, "error", error)
    monkeypatch.setattr(failing, "calls", 2)
    region = model.backends.region(model.model, "triton", 1)
    window = Window(0, 0, range(100), range(140))
    with caplog.at_level(logging.WARNING), pytest.raises(type(error)):
        region(images, Fraction(2), window)
    assert not caplog.messages


def test_no_memory_to_begin_with_is_pytorch_for_that_run_only(
    model, images, failing, monkeypatch, caplog
):
    def full(self, network):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    view = model.with_backend("triton")
    with monkeypatch.context() as patch:
        patch.setattr(failing, "__init__", full)
        upscale(view, images)
    assert failing.calls == 0
    upscale(view, images)
    assert failing.calls == 1
    [line] = caplog.messages
    assert line.endswith("running on PyTorch: CUDA out of memory")
    assert not view.backends.failures


@pytest.mark.parametrize(
    ("message", "is_memory"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("HIP out of memory", True),
        ("MPS backend out of memory (MPS allocated: 8 GB)", True),
        ("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("GET was unable to find an engine to execute this computation", True),
        ("FIND was unable to find an engine to execute this computation", True),
        ("Unable to find a valid cuDNN algorithm to run convolution", True),
        ("level_zero backend failed with error: 39 (UR_OUT_OF_DEVICE_MEMORY)", True),
        ("Native API returns: 38 (UR_RESULT_ERROR_OUT_OF_HOST_MEMORY)", True),
        ("Native API returns: 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)", True),
        ("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources requested", False),
        ("DefaultCPUAllocator: can't allocate memory", True),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 8 GB", True),
        ("std::bad_alloc", True),
        ("Current platform can NOT allocate memory block with size larger", True),
        ("There is not enough GPU video memory available!", True),  # DirectML
        ("Invalid buffer size: 8.21 GB", True),  # Metal
        ("Exception: could not create a primitive", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("expected scalar type Half but found Float", False),
    ],
)
def test_every_way_to_say_that_memory_is_full_is_known(message, is_memory):
    assert fallback.is_out_of_memory(RuntimeError(message)) == is_memory
    assert not fallback.is_out_of_memory(ValueError(message))


def test_triton_on_a_processor_is_one_line_and_pytorch(model, images, caplog):
    pytest.importorskip("triton", reason="comes with PyTorch for CUDA, on Linux")
    expected = upscale(model.with_backend("torch"), images)
    with caplog.at_level(logging.WARNING):
        result = upscale(model.with_backend("triton"), images)
    assert torch.equal(result, expected)
    [line] = caplog.messages
    assert "CUDA and ROCm" in line


def test_triton_that_is_not_installed_is_one_line_and_pytorch(
    model, images, monkeypatch, caplog
):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(
        sys.modules, "spanpp_core.backends.triton_kernels", raising=False
    )
    with caplog.at_level(logging.WARNING):
        upscale(model.with_backend("triton"), images)
    [line] = caplog.messages
    assert "backend triton cannot be used" in line


def test_openvino_short_of_memory_runs_smaller_tiles(model, images, monkeypatch):
    """It says so at a large tile only; nothing falls back to PyTorch."""
    sizes: list[int] = []

    class Short(Failing):
        def region(self, network):
            def run(x, scale, window):
                sizes.append(x[:, 0].numel())
                if sizes[-1] > 60 * 60:
                    raise RuntimeError("could not create a primitive")
                return network.region(x, scale, window)

            return run

    monkeypatch.setitem(selection.RUNNERS, "openvino", Short)
    expected = upscale(model.with_backend("torch"), images)
    result = upscale(model.with_backend("openvino"), images)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    assert min(sizes) < 60 * 60 < max(sizes)
    assert not model.backends.failures
