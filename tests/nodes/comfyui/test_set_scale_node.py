"""Set Scale: any number, and scales at which the tiles of other nodes meet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from node_calls import images, load, upscale
from stand_in_host import Host


@pytest.mark.parametrize(
    ("typed", "scale"),
    [
        (2.6667, 2.6667),
        (3, 3),
        ("8/3", 8 / 3),
        ("x2", 2),
        ("2,5", 2.5),
        ("1.3333", 1.3333),
    ],
)
def test_set_scale_takes_any_number(host: Host, typed: object, scale: float) -> None:
    node = host.node("SpanPPSetScale")
    view, number = node.execute(load(host), typed).values
    assert number == scale
    (info,) = host.node("SpanPPModelInfo").execute(view).values
    assert f"scale: x{scale:.6g}" in info
    assert node.validate_inputs(scale=typed) is True


@pytest.mark.parametrize("typed", ["two", "0", "-1", ""])
def test_what_is_no_scale_is_refused_before_it_runs(host: Host, typed: str) -> None:
    assert "is not a factor" in host.node("SpanPPSetScale").validate_inputs(scale=typed)


@pytest.mark.parametrize(
    ("saved", "scale"), [({"scale.factor": 2.75}, 2.75), ({}, 2.5)]
)
def test_set_scale_runs_prompts_of_when_it_was_a_list(
    host: Host, saved: dict[str, float], scale: float
) -> None:
    host.prompt["7"] = {"inputs": {"scale": "custom", **saved}}
    node = host.node("SpanPPSetScale")
    assert node.validate_inputs(scale="custom") is True
    assert node.execute(load(host), "custom").values[1] == scale
    assert node.execute(load(host), "custom", **{"scale.factor": 3.5}).values[1] == 3.5


def test_other_nodes_get_a_scale_at_which_tiles_meet(host: Host) -> None:
    node, model = host.node("SpanPPSetScale"), load(host)
    widths = np.arange(513, 2000)
    last = (widths - 33) // 480 * 480  # as ComfyUI places its tiles
    for percent in (*range(100, 801, 3), 133, 133.33, 266.67, 333):
        view, _ = node.execute(model, percent / 100).values
        scale = view.scale
        assert abs(scale - percent / 100) <= 1 / 480 + 1e-9
        end = np.rint(last * scale) + np.rint((widths - last) * scale)
        gaps = widths[end != np.rint(widths * scale)]
        assert not gaps.size, f"a gap at x{scale}, {gaps[:1]} pixels wide"
    assert ("7", "x1.33; other nodes get x1.32917") in host.texts


def test_our_nodes_run_the_very_scale(host: Host) -> None:
    view, _ = host.node("SpanPPSetScale").execute(load(host), 1.33).values
    assert view.scale == pytest.approx(319 / 240)
    assert upscale(host, view, images(1, 20, 1000)).values[1] == 1330


@pytest.mark.parametrize(
    ("scale", "error"), [(4 / 3, "leave gaps"), (1.5, "simulated")]
)
def test_no_tiles_that_do_not_meet_after_memory_ran_out(
    host: Host, monkeypatch: pytest.MonkeyPatch, scale: float, error: str
) -> None:
    def fails(self: object, x: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("simulated")

    view, _ = host.node("SpanPPSetScale").execute(load(host), scale).values
    monkeypatch.setattr(type(view.model), "features", fails)
    with pytest.raises((ValueError, torch.cuda.OutOfMemoryError), match=error):
        view(torch.rand(1, 3, 16, 16))
