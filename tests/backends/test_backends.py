"""What runs the network: the same pixels by each backend, and PyTorch where one fails."""

from __future__ import annotations

import copy
import logging
import pickle
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import spanpp_core
from spanpp_core import BACKENDS, SpanPPDescriptor, upscale
from spanpp_core.backends import Backends, chosen, fallback, fastest, selection
from spanpp_core.network.ends import conv_layout
from spanpp_core.network.model import SpanPP
from spanpp_core.network.scale import Window

SCALES = [1, 2, 4, 2.5, 2.73]


@pytest.fixture(autouse=True)
def _every_line_anew():
    """The same reason is logged only once in a process."""
    fallback._log_once.cache_clear()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino", reason="optional: spanpp[openvino]")


@pytest.mark.parametrize("scale", SCALES)
def test_openvino_gives_the_same_pixels(openvino, model, images, scale):
    view = model.at_scale(scale)
    expected = upscale(view.with_backend("torch"), images)
    for tile in (None, 30):
        result = upscale(view.with_backend("openvino"), images, tile)
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    assert view.backends._runners, "OpenVINO did not run"


@pytest.mark.parametrize("scale", [1, 2, 4, 2.5])
def test_openvino_is_within_a_step_of_float32_on_photos(openvino, scale):
    photo = np.asarray(Image.open(spanpp_core.bundled_photo()).convert("RGB"))
    pixels = torch.from_numpy(photo[240:360, 400:560].astype(np.float32) / 255)
    image = pixels.movedim(-1, 0)[None]
    network = spanpp_core.load(spanpp_core.bundled_model()).at_scale(scale)
    expected = upscale(network.with_backend("torch"), image)
    for dtype in (torch.float32, torch.bfloat16):
        cast = network.with_dtype(dtype).with_backend("openvino")
        off = 255 * (upscale(cast, image) - expected).abs().max().item()
        assert off < (1e-2 if dtype == torch.float32 else 1), f"{off:.2f} steps"


def test_other_weights_are_compiled_anew(openvino, model, images):
    view = model.with_backend("openvino")
    before = upscale(view, images)
    with torch.no_grad():
        model.model.conv_cat.weight.mul_(0.5)
    after = upscale(view, images)
    expected = upscale(model.with_backend("torch"), images)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)


def test_what_was_compiled_stays_out_of_copies_and_pickles(openvino, model, images):
    view = model.with_backend("openvino")
    expected = upscale(view, images)
    copied = copy.deepcopy(view)
    assert view.backends._runners
    assert not copied.backends._runners
    torch.testing.assert_close(upscale(copied, images), expected)
    pickled = pickle.dumps(view.model)
    assert len(pickled) < 2 * len(pickle.dumps(view.model.state_dict()))
    network = pickle.loads(pickled)
    torch.testing.assert_close(network(images).clamp(0, 1), expected)


def test_auto_leaves_small_jobs_alone_and_compiles_once(model, images, monkeypatch):
    made: list[str] = []

    class Fake:
        def __init__(self, network):
            made.append("compiled")

        def region(self, network):
            return network.region

        def trim(self):
            pass

    monkeypatch.setitem(selection.RUNNERS, "openvino", Fake)
    best = {"auto": "openvino", "torch": "torch"}
    monkeypatch.setattr(selection, "fastest", lambda network, backend: best[backend])
    monkeypatch.setattr(selection, "OPENVINO_PIXELS", images[:, 0].numel())
    expected = upscale(model.with_backend("torch"), images)
    for few in (images[:1], images[:, :, :-1]):
        upscale(model, few)
        assert not made
    for scale in (2, 3, 2):
        result = upscale(model.at_scale(scale), images)
        assert made == ["compiled"]
    assert torch.equal(result, expected)
    model.model.load_state_dict(model.model.state_dict())
    upscale(model, images)
    assert made == ["compiled"] * 2


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


def test_the_body_is_compiled_once_for_every_scale(model, images, monkeypatch):
    compiled: list[str] = []

    def eager(function, **how):
        compiled.append(how)
        return function

    monkeypatch.setattr(torch, "compile", eager)
    for scale in SCALES:
        view = model.at_scale(scale)
        result = upscale(view.with_backend("compile"), images)
        assert torch.equal(result, upscale(view.with_backend("torch"), images))
    assert compiled == [{"dynamic": True}], "CUDA graphs cannot work in every host"


def test_a_backend_is_chosen_by_name(model: SpanPPDescriptor):
    for name in BACKENDS:
        assert model.with_backend(name).at_scale(3).backend == name
    assert model.backend == "auto"
    with pytest.raises(ValueError, match="give one of"):
        model.with_backend("tensorrt")


def test_auto_is_what_was_measured_faster(model, monkeypatch):
    monkeypatch.setattr(selection, "find_spec", lambda name: object())
    for machine, dtype, expected in (
        ("x86_64", torch.float32, "openvino"),
        ("AMD64", torch.bfloat16, "openvino"),
        ("x86_64", torch.float16, "torch"),
        ("arm64", torch.float32, "torch"),
    ):
        monkeypatch.setattr(
            selection.platform, "machine", lambda machine=machine: machine
        )
        assert fastest(model.with_dtype(dtype).model, "auto") == expected
    monkeypatch.setattr(selection, "find_spec", lambda name: None)
    assert fastest(model.model, "auto") == "torch"
    assert fastest(model.model, "compile") == "compile"
    assert isinstance(model.backends, Backends)


class Failing:
    """A backend that runs for a while and then raises an error at every call."""

    error: Exception = RuntimeError("recording is not permitted\nand a long story")
    calls = 0

    def __init__(self, network):
        pass

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
    expected = upscale(model.with_backend("torch"), images, 16)
    view = model.with_backend("triton")
    with caplog.at_level(logging.WARNING):
        results = [upscale(view, images, 16, memory=1) for _ in range(2)]
    for result in results:
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    [line] = caplog.messages
    assert line.endswith("recording is not permitted")
    assert failing.calls == 3, "a backend that failed is not asked again"


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
        ("DefaultCPUAllocator: can't allocate memory", True),
        ("std::bad_alloc", True),
        ("Exception: could not create a primitive", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("expected scalar type Half but found Float", False),
    ],
)
def test_every_way_to_say_that_memory_is_full_is_known(message, is_memory):
    assert fallback.is_out_of_memory(RuntimeError(message)) == is_memory
    assert not fallback.is_out_of_memory(ValueError(message))


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


@pytest.mark.parametrize(
    ("capability", "installed", "expected"),
    [((8, 6), True, "triton"), ((6, 1), True, "torch"), ((9, 0), False, "torch")],
)
@pytest.mark.parametrize("pixels", [1, 2**34])
def test_auto_takes_triton_on_gpus_for_every_job(
    monkeypatch, capability, installed, expected, pixels
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    spec = object() if installed else None
    monkeypatch.setattr(selection, "find_spec", lambda name: spec)
    with FakeTensorMode(allow_non_fake_inputs=True):
        network = SpanPP(TINY)
        network.conv_cat.weight = torch.nn.Parameter(
            torch.empty(TINY.channels, 4 * TINY.channels, 1, 1, device="cuda")
        )
        assert chosen(network, "auto", pixels) == expected


@pytest.mark.parametrize(
    ("device", "dtype", "hip", "layout"),
    [
        ("cuda", torch.float16, None, torch.channels_last),
        ("cuda", torch.bfloat16, None, torch.channels_last),
        ("cuda", torch.float32, None, torch.contiguous_format),
        ("cuda", torch.float16, "7.0", torch.contiguous_format),
        ("mps", torch.float32, None, torch.contiguous_format),
        ("cpu", torch.float32, None, torch.channels_last),
    ],
)
def test_convolutions_run_in_the_layout_that_needs_no_transposing(
    monkeypatch, device, dtype, hip, layout
):
    monkeypatch.setattr(torch.version, "hip", hip)
    assert conv_layout(torch.device(device), dtype) == layout
