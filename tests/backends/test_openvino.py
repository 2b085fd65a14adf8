"""OpenVINO: the same pixels, compiled anew for other weights, within memory."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

import spanpp_core
from spanpp_core import upscale
from spanpp_core.backends import openvino as backend

SCALES = [1, 2, 4, 2.5, 2.73]


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino", reason="optional: spanpp[openvino]")


@pytest.mark.parametrize("scale", SCALES)
def test_openvino_gives_the_same_pixels(openvino, model, images, scale):
    view = model.at_scale(scale)
    expected = upscale(view.with_backend("torch"), images)
    for tile in (None, 30):
        result = upscale(view.with_backend("openvino"), images, tile=tile)
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
        assert off < (1e-2 if dtype == torch.float32 else 1.5), f"{off:.2f} steps"


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


def test_memory_is_given_back_only_when_no_thread_uses_it(
    openvino, model, images, monkeypatch
):
    """OpenVINO refuses while another thread is at work; the last one gives it back."""
    monkeypatch.setattr(backend, "KEPT_BYTES", 0)
    views = [model.at_scale(s).with_backend("openvino") for s in (1, 2, 3, 4)]
    expected = [upscale(view, images) for view in views]

    def run(index: int) -> None:
        for _ in range(20):
            made = upscale(views[index], images, tile=20)
            torch.testing.assert_close(made, expected[index], rtol=1e-4, atol=1e-5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    upscale(views[0], images)
    (runner,) = model.backends._runners.values()
    assert runner._kept == 0
