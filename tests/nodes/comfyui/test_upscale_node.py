"""Upscale: sizes, memory, progress, previews and precision."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from node_calls import images, load, picked, to_bytes, upscale
from stand_in_host import Host, Interrupted, LatentPreviewMethod


def test_an_unknown_way_to_say_a_size_is_refused(host: Host) -> None:
    for size in (picked(host, "size", "x9"), {}):  # newer hosts leave unknown ones out
        arguments = {"size": None, **size}
        with pytest.raises(ValueError, match="choose one of model scale, factor, fit"):
            upscale(host, load(host), images(), **arguments)


def test_an_empty_batch_is_called_empty(host: Host) -> None:
    with pytest.raises(ValueError, match="nothing to upscale: 0 images of 24x20"):
        upscale(host, load(host), images(0))


@pytest.mark.parametrize("image", [images()[0], images()[None]])
def test_what_is_no_batch_of_images_is_said(host: Host, image: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected \(frames, height, width, channels"):
        upscale(host, load(host), image)


@pytest.mark.parametrize("shape", [(20, 24), (1, 20, 24), (3, 20, 24), (2, 1, 20, 24)])
def test_a_mask_is_enlarged_with_the_image(host: Host, shape: tuple[int, ...]) -> None:
    mask = torch.zeros(shape)
    mask[..., 5:15, 8:16] = 1
    sized = picked(host, "size", "exact size", width=40, height=30)
    image, *_, larger = upscale(host, load(host), images(), mask=mask, **sized).values
    assert larger.shape == (mask.numel() // 480, *image.shape[1:3])
    assert larger.shape[1:] == (30, 40)
    assert (larger[:, 8:20, 16:24] == 1).all()
    assert (larger[:, :, :6] == 0).all()


def test_without_a_mask_an_empty_one_goes_on(host: Host) -> None:
    """Load Image gives one of 64x64 zeros where an image has no alpha."""
    for mask in (None, torch.zeros(1, 64, 64)):
        *_, larger = upscale(host, load(host), images(3), mask=mask).values
        assert torch.equal(larger, torch.zeros(1, 40, 48))


def test_a_mask_stops_when_asked(host: Host) -> None:
    host.interrupt_after = 1
    with pytest.raises(Interrupted):
        upscale(host, load(host), images(), mask=images(2)[..., 0], tile=16)
    assert len(host.progress) == 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_upscaling_is_that_of_the_core(host: Host, channels: int) -> None:
    model, image = load(host).at_scale(3), images(2, channels=channels)
    output = upscale(host, model, image)
    result, width, height, info, _ = output.values
    assert output.ui["text"] == (info,)
    expected = host.core.upscale(model, image.movedim(-1, 1)).movedim(1, -1)
    assert torch.equal(result, expected)
    assert (width, height) == (72, 60)
    assert result.is_contiguous()
    assert "24x20 → 72x60 px" in info
    assert "x3" in info


@pytest.mark.parametrize(
    ("frames", "tile", "said"),
    [
        (1, 0, "float32"),
        (3, 0, "3 frames · float32"),
        (1, 16, "4 tiles of up to 16 px · float32"),
        (3, 16, "3 frames · 4 tiles each of up to 16 px · float32"),
    ],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_tiles_are_counted_as_they_lie_on_the_image(
    host: Host, frames: int, tile: int, said: str, channels: int
) -> None:
    """Alpha and values outside [0, 1] run too, in the same tiles."""
    image = images(frames, 60, 60, channels) * (1 if tile else 2)
    info = upscale(host, load(host), image, tile=tile).values[3]
    assert info.splitlines()[1].startswith(said)


def test_values_outside_the_range_are_kept_and_shown(host: Host) -> None:
    result, *_, info, _ = upscale(host, load(host), images() * 8).values
    assert float(result.max()) > 4
    assert "values from " in info
    assert info.partition(" kept")[0].endswith(f"to {float(images().max() * 8):.3g}")
    info = upscale(host, load(host), images()).values[3]
    assert "kept" not in info


def test_frames_are_looked_at_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{host.pack.__name__}.spanpp_core.engine.dynamic_range"
    looked: list[torch.Size] = []
    ends = sys.modules[name]._ends
    monkeypatch.setattr(
        sys.modules[name], "_ends", lambda x: looked.append(x.shape) or ends(x)
    )
    upscale(host, load(host), images(4))
    assert [shape[0] for shape in looked] == [4]


@pytest.mark.parametrize(
    ("option", "values", "size"),
    [
        ("fit inside", {"width": 60, "height": 100}, (60, 50)),
        ("longer side", {"longer_side": 96}, (96, 80)),
        ("megapixels", {"megapixels": 0.012}, (120, 100)),
        ("exact size", {"width": 60, "height": 60}, (60, 60)),
        ("width", {"width": 60}, (60, 50)),
        ("height", {"height": 60}, (72, 60)),
        ("shorter side", {"shorter_side": 60}, (72, 60)),
        ("factor", {"factor": 1.5}, (36, 30)),
        ("model scale", {}, (48, 40)),
    ],
)
def test_every_way_to_say_a_size(
    host: Host, option: str, values: dict[str, Any], size: tuple[int, int]
) -> None:
    arguments = picked(host, "size", option, **values)
    result, *reported, info, _ = upscale(host, load(host), images(), **arguments).values
    assert tuple(reported) == size
    assert result.shape == (1, size[1], size[0], 3)
    whole = size[1] % 20 == 0
    assert ("then resized" in info) is not whole
    assert ("cropped" in info) is (option == "exact size")


def test_sides_become_multiples(host: Host) -> None:
    factor = picked(host, "size", "factor", factor=1.5)
    for way, size in (("crop", (32, 24)), ("fit", (40, 32))):
        more = {"multiple_of": "8", "to_multiple": way, **factor}
        made = upscale(host, load(host), images(1, 20, 25), **more).values
        _, *reported, info, _ = made
        assert tuple(reported) == size
        assert "multiples of 8" in info


def test_a_result_larger_than_the_memory_is_refused(host: Host) -> None:
    image = torch.zeros(1).expand(1000, 2000, 2000, 3)
    sized = picked(host, "size", "factor", factor=8.0)
    with pytest.raises(ValueError, match=r"takes 3.1 TB .* are free; .* Upscale Video"):
        upscale(host, load(host), image, **sized)


def test_memory_is_asked_for_by_our_own_estimate(host: Host) -> None:
    model = load(host)
    upscale(host, model, images())
    assert host.memory_asked == [host.core.prepare(model, (20, 24)).working_memory]
    assert host.memory_asked[0] < 2**21, "a few kilopixels do not take gigabytes"


@pytest.mark.parametrize(
    ("device", "counted", "expected"),
    [
        ("meta", lambda device: 12345, 12345),
        ("meta", None, None),
        ("cpu", lambda device: 1, None),
    ],
)
def test_what_comfyui_can_evict_counts_as_free(
    host: Host, device: str, counted: Any, expected: int | None
) -> None:
    """On a GPU and where the host knows; of main memory the core knows more."""
    model = load(host)
    model.patcher.load_device = torch.device(device)
    if counted is not None:
        model.patcher.get_free_memory = counted
    module = sys.modules[f"{host.pack.__name__}.nodes.comfyui.device"]
    assert module.bring_to_device(model, 100) == expected


def test_progress_has_previews_and_stops_when_asked(host: Host) -> None:
    image = images(1, 106, 106)
    result = upscale(host, load(host), image, tile=16).values[0]
    done, total, (kind, picture, side) = host.progress[-1]
    assert (done, total, kind, side) == (16, 16, "JPEG", 212)
    assert picture.size == (212, 212), "people read it as the size of the result"
    assert np.array_equal(np.asarray(picture), to_bytes(result[0]))
    host.progress.clear()
    host.interrupt_after = 3
    with pytest.raises(Interrupted):
        upscale(host, load(host), image, tile=16)
    assert len(host.progress) == 3


def test_a_preview_in_between_is_small_and_shows_what_is_not_done_as_it_came(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    preview = sys.modules[f"{host.pack.__name__}.nodes.comfyui.preview"]
    monkeypatch.setattr(preview, "PREVIEW_SECONDS", 0)
    given, result = torch.full((1, 600, 600, 4), 0.5), torch.zeros(1, 1200, 1200, 4)
    result[:, :600] = 1
    _, picture, side = preview.LivePreview(given, result).due(1, 2)
    pixels = np.asarray(picture)
    assert side == 512
    assert side <= max(picture.size) < 2 * side
    half = len(pixels) // 2
    assert (pixels[:half] == 255).all()
    assert (pixels[half:] == 128).all()


def test_no_preview_is_sent_where_the_host_shows_none(host: Host) -> None:
    host.settings.preview_method = LatentPreviewMethod.NoPreviews
    upscale(host, load(host), images(), tile=16)
    assert {preview for *_, preview in host.progress} == {None}


def test_precision_does_not_touch_the_model_others_hold(host: Host) -> None:
    model = load(host)
    info = upscale(host, model, images(), precision="bfloat16").values[3]
    assert "bfloat16" in info
    assert model.dtype == torch.float32


def test_what_runs_is_kept_until_comfyui_unloads_the_model(host: Host) -> None:
    """What is made of the weights is counted, and leaves memory with them."""
    model = load(host)

    def runs_in_half() -> object:
        upscale(host, model.at_scale(2.5), images(), precision="float16")
        return model.with_dtype(torch.float16).model.conv_cat

    kept = runs_in_half()
    model.patcher.detach(unpatch_all=False)  # as before every run
    assert runs_in_half() is kept
    model.patcher.detach()
    assert not model.backends._casts
    assert runs_in_half() is not kept
    assert model.patcher.size > sum(
        weight.nbytes
        for network in (model, model.with_dtype(torch.float16))
        for weight in network.model.parameters()
    )
    assert sum(map(len, model.patcher.callbacks.values())) == 1


def test_automatic_precision_asks_the_host_first(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen() -> str:
        return upscale(host, load(host), images(), precision="auto").values[3]

    management = sys.modules["comfy.model_management"]
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert "float32" in chosen()
    fast = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: fast, raising=False)
    assert "bfloat16" in chosen()
    monkeypatch.setattr(management, "FORCE_FP32", True)
    assert "float32" in chosen()
    monkeypatch.setattr(management, "should_use_fp16", lambda device: True)
    assert chosen().splitlines()[1].split(" · ")[0] == "float16"
