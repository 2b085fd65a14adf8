"""The network with the convolution for CUDA: PyTorch's features, chosen where it is fastest."""

from __future__ import annotations

import sys

import pytest
import torch
from cuda_emulator import H100, RawKernel, needs_compiler
from torch._subclasses.fake_tensor import FakeTensorMode

from spanpp_core import upscale
from spanpp_core.backends import convolution, cupy, fallback, fastest_backend, selection
from spanpp_core.backends.convolution import SHAPES
from spanpp_core.network.hyperparameters import Hyperparameters
from spanpp_core.network.model import SpanPP


@pytest.fixture
def _on_gpu(monkeypatch, _cuda_emulated):
    """As if this was one, without Triton, which is of no use on a CPU."""
    monkeypatch.setattr(cupy, "_reason_against", lambda *_: None)
    kernels = "spanpp_core.backends.triton_kernels"
    monkeypatch.setitem(sys.modules, kernels, None)
    monkeypatch.delattr(kernels, raising=False)
    times = dict(zip(SHAPES, (3, 2, 1)))
    monkeypatch.setattr(convolution, "shape_times", lambda *_: times)


@needs_compiler
@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float16, 1e-2), (torch.bfloat16, 3e-2)]
)
@pytest.mark.usefixtures("_on_gpu")
def test_the_features_are_those_of_pytorch(make, dtype, most):
    network = make(channels=16).with_dtype(dtype).model
    runner = cupy.CupyRunner(network)
    image = torch.rand(2, 3, 12, 14)[:, :, 3:, 1:12]  # part of a larger one
    with torch.no_grad():
        found, expected = runner.features(image), network.float().features(image)
    assert (found - expected).abs().max() < most * expected.abs().max()


@needs_compiler
@pytest.mark.usefixtures("_on_gpu")
def test_a_kernel_that_fails_on_large_images_alone_is_not_used(
    make, monkeypatch, tmp_path
):
    """There a program makes tile after tile; the images of the check have few."""
    code, part = convolution.SOURCE.read_text("utf-8"), "load(bias + channel + i % 2)"
    assert part in code
    monkeypatch.setattr(convolution, "SOURCE", tmp_path / "convolution.cu")
    # the tile after this one is known by then
    wrong = f"{part} + (tile >= 2 * GROUPS * gridDim.x)"
    convolution.SOURCE.write_text(code.replace(part, wrong))
    monkeypatch.setattr(RawKernel, "most_programs", H100["MultiProcessorCount"])
    with pytest.raises(RuntimeError, match="its result is off by"):
        cupy.CupyRunner(make(channels=16).with_dtype(torch.bfloat16).model)


@pytest.fixture
def _times(monkeypatch):
    """In milliseconds; its convolution is faster in float16, and slower in bfloat16."""
    ours = {torch.float16: 0.3, torch.bfloat16: 0.4}
    monkeypatch.setattr(
        cupy, "shape_times", lambda _, dtype, *rest: dict.fromkeys(SHAPES, ours[dtype])
    )
    monkeypatch.setattr(cupy, "convolution_time", lambda *_: 0.35)
    monkeypatch.setattr(cupy, "fastest_width", lambda *_: 64)
    cupy._measures_faster.cache_clear()
    yield
    cupy._measures_faster.cache_clear()


@pytest.mark.parametrize(
    ("capability", "dtype", "hip", "installed", "expected"),
    [
        ((9, 0), torch.float16, None, {"cupy", "triton"}, "cupy"),
        ((9, 0), torch.float16, None, {"cupy"}, "cupy"),
        ((9, 0), torch.bfloat16, None, {"cupy", "triton"}, "triton"),
        ((9, 0), torch.float32, None, {"cupy", "triton"}, "triton"),
        ((9, 0), torch.float16, None, {"triton"}, "triton"),
        ((9, 0), torch.float16, "7.0", {"cupy", "triton"}, "triton"),
        ((8, 6), torch.float16, None, {"cupy", "triton"}, "triton"),
    ],
)
@pytest.mark.usefixtures("_times")
def test_auto_takes_it_where_it_measures_faster(
    monkeypatch, capability, dtype, hip, installed, expected
):
    """And where a kernel of its kind has run before: an error can end the program."""
    on_gpu(monkeypatch, capability, installed, hip)
    assert fastest_backend(network_on_gpu(dtype), "auto") == expected


@pytest.mark.usefixtures("_times")
def test_auto_says_why_it_could_not_be_measured(monkeypatch, caplog):
    on_gpu(monkeypatch, (9, 0), {"cupy", "triton"})

    def differing(*_):
        raise RuntimeError("its results depend on how the work is divided")

    monkeypatch.setattr(cupy, "shape_times", differing)
    assert fastest_backend(network_on_gpu(torch.float16), "auto") == "triton"
    assert "how the work is divided" in caplog.text


def on_gpu(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    installed: set[str],
    hip: str | None = None,
) -> None:
    """A GPU and packages for the choice of a backend."""
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    for module in (cupy, selection):
        monkeypatch.setattr(
            module, "find_spec", lambda name: name if name in installed else None
        )


def network_on_gpu(dtype: torch.dtype) -> SpanPP:
    """As far as the choice of a backend looks at it."""
    with FakeTensorMode():
        network = SpanPP(Hyperparameters())
        for name in ("block_1.c1_r.conv_3x3_rep", "conv_cat"):
            layer = network.get_submodule(name)
            weight = torch.empty_like(layer.weight, device="cuda", dtype=dtype)
            layer.weight = torch.nn.Parameter(weight)
    return network


def test_what_it_is_not_for_is_one_line_and_pytorch(model, caplog):
    fallback._log_once.cache_clear()
    image = torch.rand(1, 3, 9, 11)
    expected = upscale(model.with_backend("torch"), image)
    assert torch.equal(upscale(model.with_backend("cupy"), image), expected)
    [line] = caplog.messages
    assert "cupy cannot be used" in line
    assert "for CUDA devices" in line
