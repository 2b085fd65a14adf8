"""What the quality benchmark concludes, on photos and scores made up."""

from __future__ import annotations

import importlib
import runpy
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

FOLDER = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the benchmarks are in the repository alone"
)


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def inputs():
    return importlib.import_module("quality_inputs")


@pytest.fixture
def scores():
    return importlib.import_module("quality_scores")


@pytest.fixture
def tables():
    return importlib.import_module("quality_tables")


@pytest.fixture
def photo() -> torch.Tensor:
    """Smooth, with some texture: (1, 3, 61, 50) in [0, 1]."""
    torch.manual_seed(0)
    ramp = torch.linspace(0.2, 0.8, 50).expand(1, 3, 61, 50)
    return ramp + 0.05 * torch.rand(1, 3, 61, 50)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.3, 0.4, 0.5, 0.6], "rises"),
        ([0.6, 0.5, 0.4, 0.4, 0.1], "falls"),
        ([0.100, 0.102, 0.099, 0.101, 0.1], "level"),
        ([0.1, 0.3, 0.6, 0.5, 0.2], "best at 0.5"),
        ([0.1, 0.5, 0.3, 0.6, 0.7], "up and down"),
        ([0.1, 0.3, 0.299, 0.5, 0.6], "rises"),  # a step back of 0.001 dB is none
    ],
)
def test_the_course_of_a_gain_is_named_by_its_steps(tables, values, expected):
    assert tables.course(values, [0, 0.25, 0.5, 0.75, 1]) == expected


def test_gains_are_over_the_better_kernel_of_each_photo(tables, scores):
    first, second, ours = (
        [scores.Score(psnr, None, 0.0) for psnr in some]
        for some in ([30.0, 25.0], [29.0, 26.0], [31.0, 25.5])
    )
    plain = tables.better(first, second)
    assert [score.psnr for score in plain] == [30.0, 26.0]
    assert tables.gain(tables.gains(ours, plain)) == "+0.25 (-0.50)"


def test_published_figures_stand_at_the_scales_asked_for_alone(tables):
    rows = dict(tables.published("Set5", ["1.5", "2"]))
    assert rows["published: bicubic"] == ["", "33.66"]
    assert not any("SPAN" in name for name in rows)
    assert tables.published("my photos", ["2"]) == []


def test_every_degradation_is_the_same_each_time_and_is_one(inputs, photo):
    clean, full = inputs.pair(photo, Fraction(5, 2), "none", "a.png")
    assert clean.shape[-2:] == (24, 20)
    assert full.shape[-2:] == (60, 50)
    for name in inputs.DEGRADATIONS:
        low, _ = inputs.pair(photo, Fraction(5, 2), name, "a.png")
        again, _ = inputs.pair(photo, Fraction(5, 2), name, "a.png")
        assert torch.equal(low, again), name
        assert torch.equal(low, clean) == (name == "none"), name
        torch.testing.assert_close(low * 255, (low * 255).round(), atol=1e-4, rtol=0)


def test_photos_have_noise_of_their_own(inputs, photo):
    one, other = (inputs.pair(photo, Fraction(2), "noise 5", n)[0] for n in "ab")
    clean, _ = inputs.pair(photo, Fraction(2), "none", "a")
    assert not torch.equal(one, other)
    assert 4 < float((one - clean).std()) * 255 < 6


def test_a_brighter_result_has_a_shift_of_as_much(scores, photo):
    score = scores.measured(photo + 2 / 255, photo, 2, ssim=True)
    assert score.shift == pytest.approx(2, abs=1e-4)
    assert score.ssim > 0.99
    assert scores.measured(photo, photo, 2, ssim=False).ssim is None


def test_what_a_file_holds_is_not_measured_again(scores, photo, tmp_path):
    calls: list[float] = []

    def nearest(image, scale, size):
        calls.append(scale)
        return torch.nn.functional.interpolate(image, size)

    path = tmp_path / "scores.jsonl"
    what = ("set", {"a.png": photo}, Fraction(3, 2), "none", {"nearest": nearest})
    first = scores.Scores(path).of(*what)
    assert scores.Scores(path).of(*what) == first
    assert calls == [1.5]


def test_models_of_other_weights_or_dtypes_are_told_apart(scores, model, make):
    found = {
        scores.identity(model),
        scores.identity(make(channels=6)),
        scores.identity(model.with_dtype(torch.bfloat16)),
    }
    assert len(found) == 3
    assert scores.identity(model.at_scale(3)) in found


def test_the_command_prints_every_table(monkeypatch, tmp_path, training_state, capsys):
    weights, repair = (
        tmp_path / "tiny.safetensors",
        tmp_path / "tiny_repair.safetensors",
    )
    save_file(training_state, weights)
    save_file(training_state, repair)
    folder = tmp_path / "Set5"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    arguments = ["quality.py", str(folder), "--models", str(weights)]
    arguments += ["--scales", "1.5", "2", "--degradations", "JPEG 50"]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(FOLDER / "quality.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "### Set5 (1 photos)" in printed
    assert "| tiny, downscale |" in printed
    assert "### Set5 at x2, degraded" in printed
    assert "| tiny, flat greys, at most |" in printed
    points = ["--tables", "degraded", "--repair", "0", "0.5", "1"]
    monkeypatch.setattr(sys, "argv", arguments + points)
    runpy.run_path(str(FOLDER / "quality.py"), run_name="__main__")
    assert (
        "| bicubic | repair 0 | repair 0.5 | repair 1 | along"
        in capsys.readouterr().out
    )
