"""What the training benchmarks conclude, on runs made up to have a known answer."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from spanpp_core.training import loop
from spanpp_core.training.photos import Photos
from spanpp_core.training.recipe import Recipe

FOLDER = Path(__file__).parents[2] / "benchmarks" / "research"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the benchmarks are in the repository alone"
)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


@pytest.mark.parametrize(
    ("losses", "norms", "expected"),
    [
        ([0.4, 0.2, 0.1], [1, 1, 1], False),
        ([0.4, 9.0, 0.1], [1, 900, 1], False),  # it came back
        ([0.4, 0.1, 0.5], [1, 1, 1], True),
        ([0.4, 0.2, math.nan], [1, 1, 1], True),
        ([0.4, 0.2, 0.1], [1, math.inf, 1], True),
    ],
)
def test_diverged_is_not_finite_or_worse_than_at_the_start(
    benchmark, losses, norms, expected
):
    assert benchmark("trajectory").diverged(losses, norms) == expected


def test_a_spike_is_twice_the_losses_before_it(benchmark):
    calm = [0.1] * 30
    count = benchmark("trajectory").spikes
    assert count(calm) == 0
    assert count([*calm, 0.19, *calm]) == 0
    assert count([*calm, 0.21, *calm, 5.0]) == 2
    assert count([5.0, *calm]) == 0  # the start is no spike


def test_percentile_is_a_value_that_the_share_does_not_exceed(benchmark):
    percentile = benchmark("trajectory").percentile
    values = [*range(100, 0, -1)]
    assert percentile(values, 0.99) == 99
    assert percentile(values, 0.5) == 50
    assert percentile([7.0], 0.99) == 7


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({10: 31, 20: 32}, 10),
        ({10: 31, 20: 29, 30: 31, 40: 32}, 30),  # it has to stay above
        ({10: 31, 20: 29}, None),
        ({}, None),
    ],
)
def test_passed_is_from_where_on_the_bar_is_kept(benchmark, scores, expected):
    assert benchmark("trajectory").passed(scores, 30) == expected


def test_rivals_in_weight_space_compute_what_they_did(benchmark):
    rivals = benchmark("rivals")
    torch.manual_seed(0)
    network = rivals.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2)
    network.double()
    x = torch.rand(1, 3, 9, 7, dtype=torch.float64)
    expected = network(x)
    expected.sum().backward()
    gradients = {n: p.grad for n, p in network.named_parameters()}
    network.zero_grad()
    fused = rivals.in_weight_space(network)
    result = fused(x)
    result.sum().backward()
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=0)
    for name, parameter in fused.named_parameters():
        torch.testing.assert_close(
            parameter.grad, gradients[name], rtol=1e-9, atol=1e-9, msg=name
        )


def test_the_protocol_runs_and_goes_on_with_what_is_missing(
    benchmark, tmp_path, monkeypatch, capsys
):
    photos = tmp_path / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    Image.fromarray(noise).save(photos / "a.png")
    out = tmp_path / "runs.jsonl"
    arguments = [
        *("stability.py", str(photos), "--out", str(out)),
        *("--steps", "2", "--batch", "1", "--patch", "12", "--channels", "4"),
        *("--networks", "SPAN, no norm", "SpanPP, alpha 1/3", "--rates", "1e-3"),
    ]
    for seeds in ("1", "2"):
        monkeypatch.setattr(sys, "argv", [*arguments, "--seeds", seeds])
        benchmark("stability").main()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["seed"] for row in rows] == [0, 0, 1, 1]
    assert all(len(row["losses"]) == 2 for row in rows)
    assert "| SpanPP, alpha 1/3 | 0.001 |" in capsys.readouterr().out


def test_short_trainings_keep_flat_colours_where_their_recipe_does(
    monkeypatch, tmp_path, weights
):
    monkeypatch.syspath_prepend(str(FOLDER.parent))
    recipes = importlib.import_module("recipes")
    given: dict[str, object] = {}
    monkeypatch.setattr(loop, "train", lambda *_, **more: given.update(more))
    recipe = Recipe(weights=str(weights), branches=False, colours=6.0)
    recipes.trained(recipe, Photos(torch.empty(0, 3), []), tmp_path)
    assert given["colours"] == 6
