"""What runs the network: the same pixels by each, and PyTorch where one is missing."""

from __future__ import annotations

import copy
import logging
import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import spanpp_core
from spanpp_core import BACKENDS, SpanPPDescriptor, upscale
from spanpp_core.backends import Backends, choice, fastest

SCALES = [1, 2, 4, 2.5, 2.73]


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
    assert view.backends._made, "OpenVINO did not run"


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
    assert view.backends._made
    assert not copied.backends._made
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

    monkeypatch.setattr(choice.openvino, "Compiled", Fake)
    best = {"auto": "openvino", "torch": "torch"}
    monkeypatch.setattr(choice, "fastest", lambda network, backend: best[backend])
    monkeypatch.setitem(choice.WORTH, "openvino", images[:, 0].numel())
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
    monkeypatch.setitem(sys.modules, missing, None)
    view = model.with_backend("openvino")
    with caplog.at_level(logging.WARNING):
        results = [upscale(view, images) for _ in range(2)]
    expected = upscale(model.with_backend("torch"), images)
    assert all(torch.equal(result, expected) for result in results)
    [line] = caplog.messages
    assert "openvino can not be used" in line
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
        compiled.append(how["mode"])
        return function

    monkeypatch.setattr(torch, "compile", eager)
    for scale in SCALES:
        view = model.at_scale(scale)
        result = upscale(view.with_backend("compile"), images)
        assert torch.equal(result, upscale(view.with_backend("torch"), images))
    assert compiled == ["default"]


def test_a_backend_is_chosen_by_name(model: SpanPPDescriptor):
    for name in BACKENDS:
        assert model.with_backend(name).at_scale(3).backend == name
    assert model.backend == "auto"
    with pytest.raises(ValueError, match="give one of"):
        model.with_backend("tensorrt")


def test_auto_is_what_was_measured_faster(model, monkeypatch):
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: object())
    for machine, dtype, expected in (
        ("x86_64", torch.float32, "openvino"),
        ("AMD64", torch.bfloat16, "openvino"),
        ("x86_64", torch.float16, "torch"),
        ("arm64", torch.float32, "torch"),
    ):
        monkeypatch.setattr(choice.platform, "machine", lambda machine=machine: machine)
        assert fastest(model.with_dtype(dtype).model, "auto") == expected
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    assert fastest(model.model, "auto") == "torch"
    assert fastest(model.model, "compile") == "compile"
    assert isinstance(model.backends, Backends)
