"""Which backend runs: by name, and what "auto" takes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
import torch
from tiny import TINY
from torch._subclasses.fake_tensor import FakeTensorMode

from spanpp_core import BACKENDS, SpanPPDescriptor, upscale
from spanpp_core.backends import Backends, chosen_backend, fastest_backend, selection
from spanpp_core.backends.prepared_weights import PreparedRunner
from spanpp_core.network.end_layers import conv_layout
from spanpp_core.network.model import SpanPP
from spanpp_core.network.scale import Window


def test_auto_leaves_small_jobs_alone_and_compiles_once(model, images, monkeypatch):
    made: list[str] = []

    class Fake:
        def __init__(self, network):
            made.append("compiled")

        @staticmethod
        def map_channels(channels, dtype, device):
            return channels

        def region(self, network):
            return network.region

        def trim(self):
            pass

    monkeypatch.setitem(selection.RUNNERS, "openvino", Fake)
    best = {"auto": "openvino", "torch": "torch"}
    monkeypatch.setattr(
        selection, "fastest_backend", lambda network, backend, *_: best[backend]
    )
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


def test_threads_wait_for_the_one_that_compiles(model, images, monkeypatch):
    made: list[float] = []

    class Slow(PreparedRunner):
        def __init__(self, network):
            time.sleep(0.1)
            made.append(time.monotonic())

        def region(self, network):
            return network.region

    monkeypatch.setitem(selection.RUNNERS, "triton", Slow)
    view = model.with_backend("triton")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: upscale(view, images), range(4)))
    assert len(made) == 1
    assert not view.backends.failures


def test_the_body_is_compiled_once_for_every_scale(model, images, monkeypatch):
    compiled: list[str] = []

    def eager(function, **how):
        compiled.append(how)
        return function

    monkeypatch.setattr(torch, "compile", eager)
    for scale in (1, 2, 4, 2.5, 2.73):
        view = model.at_scale(scale)
        result = upscale(view.with_backend("compile"), images)
        assert torch.equal(result, upscale(view.with_backend("torch"), images))
    assert compiled == [{"dynamic": True}], "CUDA graphs cannot work in every host"


def test_compiled_pixels_leave_in_the_dtype_of_the_network(model, images, monkeypatch):
    """An image of a wider dtype would make more bytes to copy from a GPU."""
    monkeypatch.setattr(torch, "compile", lambda function, **how: function)
    region = model.backends.region(model.model, "compile", 1)
    window = Window(0, 0, range(100), range(140))
    assert region(images.double(), Fraction(2), window).dtype == torch.float32


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
        selection._fastest.cache_clear()
        assert fastest_backend(model.with_dtype(dtype).model, "auto") == expected
    monkeypatch.setattr(selection, "find_spec", lambda name: None)
    selection._fastest.cache_clear()
    assert fastest_backend(model.model, "auto") == "torch"
    assert fastest_backend(model.model, "compile") == "compile"
    assert isinstance(model.backends, Backends)


def test_packages_are_looked_up_once_for_all_calls(model, monkeypatch):
    """It takes longer than to launch a few kernels."""
    asked: list[str] = []
    monkeypatch.setattr(selection, "find_spec", asked.append)
    monkeypatch.setattr(selection.platform, "machine", lambda: "x86_64")
    for _ in range(3):
        upscale(model, torch.rand(1, 3, 8, 8))
    assert asked == ["openvino"]


@pytest.mark.parametrize(
    ("capability", "installed", "expected"),
    [
        ((8, 6), True, "triton"),
        ((6, 1), True, "jiterator"),
        ((9, 0), False, "jiterator"),
    ],
)
@pytest.mark.parametrize("pixels", [1, 2**34])
def test_auto_takes_fused_kernels_on_gpus_for_every_job(
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
        assert chosen_backend(network, "auto", pixels) == expected


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
