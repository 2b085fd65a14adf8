"""``spanpp train`` through its front door."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from front_door import spanpp
from safetensors import safe_open
from safetensors.torch import load_file

import spanpp_core
from spanpp_core import images

pytest.importorskip("lightning_fabric")

TINY_RUN = ("--channels", "4", "--patch", "12", "--batch", "1", "--device", "cpu")


@pytest.fixture
def folder(tmp_path):
    pixels = images.read(spanpp_core.bundled_photo()).pixels[..., :150, :200]
    (tmp_path / "photos").mkdir()
    images.write(tmp_path / "photos" / "raccoon.png", images.Picture(pixels, 8))
    return tmp_path / "photos"


def test_photos_become_weights_that_upscale_photos(tmp_path, folder):
    out = tmp_path / "run"
    options = ("--steps", 4, "--continuous", "--save-every", 2, "--val", folder)
    assert spanpp("train", folder, "-o", out, *TINY_RUN, *options) == 0
    weights = out / "spanpp.safetensors"
    assert spanpp_core.load(weights).scales == (1, 2, 3, 4)
    result = tmp_path / "big.png"
    photo = folder / "raccoon.png"
    assert spanpp("upscale", photo, "-o", result, "-m", weights, "-s", "1.5") == 0
    found = images.header(result)
    assert (found.height, found.width) == (225, 300)


def test_scales_are_those_asked_for(tmp_path, folder):
    options = ("--steps", 1, "--scales", 2, 6)
    assert spanpp("train", folder, "-o", tmp_path / "run", *TINY_RUN, *options) == 0
    assert spanpp_core.load(tmp_path / "run" / "spanpp.safetensors").scales == (2, 6)


def test_an_intel_gpu_leaves_training_to_the_cpu(tmp_path, folder, monkeypatch):
    """Lightning Fabric does not train on one."""
    command = sys.modules["spanpp_core.command.train"]
    monkeypatch.setattr(command, "device_named", lambda name: torch.device("xpu"))
    options = [each for each in TINY_RUN if each not in ("--device", "cpu")]
    out = tmp_path / "run"
    assert spanpp("train", folder, "-o", out, *options, "--steps", 1) == 0
    assert (out / "spanpp.safetensors").exists()


def test_bundled_weights_can_be_trained_further(tmp_path, folder):
    options = ("--steps", 1, "--batch", 1, "--patch", 12, "--device", "cpu")
    start = ("--weights", spanpp_core.bundled_model())
    out = tmp_path / "run"
    assert spanpp("train", folder, "-o", out, *options, *start) == 0
    before = spanpp_core.load(spanpp_core.bundled_model())
    after = spanpp_core.load(out / "spanpp.safetensors")
    photo = images.read(spanpp_core.bundled_photo()).pixels[..., 200:248, 300:348]
    assert (before.model(photo) - after.model(photo)).abs().mean() < 0.005


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a POSIX signal")
def test_a_run_killed_at_any_time_ends_as_if_it_had_not_been(tmp_path, folder):
    arguments = ["train", str(folder), *TINY_RUN, "--steps", "30", "--save-every", "7"]
    program = "import sys; from spanpp_core.command import main; main()"
    root = Path(spanpp_core.__file__).parents[1]
    out = tmp_path / "killed"
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments, "-o", str(out)],
        # sums are rounded as they are divided among threads
        env=os.environ
        | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    while child.poll() is None and not (out / "state.ckpt").exists():
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert spanpp(*arguments, "-o", out) == 0
    assert spanpp(*arguments, "-o", tmp_path / "whole") == 0
    expected = load_file(tmp_path / "whole" / "spanpp.safetensors")
    for name, tensor in load_file(out / "spanpp.safetensors").items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scales", 2, 2), "--scales 2 2: give whole numbers from 1 to 8, each once"),
        (("--scales", 9), "--scales 9: give whole numbers from 1 to 8, each once"),
        (("--patch", 400), "no photo whose shorter side is 1632 px or more"),
        (("--weights", "nothing.pth"), "nothing.pth: no such file"),
        (("--val", "nowhere"), "nowhere: no such folder"),
        (("--lr", 0), "the learning rate is 0; give more than 0"),
        (("--recipe", "nothing.toml"), "nothing.toml: "),
        (
            ("--weights", spanpp_core.bundled_model()),
            "--channels 4 is of a new network, and --weights ",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, folder, capsys, options, message):
    out = tmp_path / "run"
    assert spanpp("train", folder, "-o", out, "--channels", 4, *options) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
    assert not out.exists()


def test_a_folder_without_photos_is_said_in_one_line(tmp_path, capsys):
    assert spanpp("train", tmp_path, "-o", tmp_path / "run") == 2
    assert "has no images" in capsys.readouterr().err


def test_a_recipe_is_a_run_and_options_go_before_it(tmp_path, folder):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "steps = 3\nbatch = 1\npatch = 12\nchannels = 4\nbranches = false\n"
        'loss = "charbonnier"\ndegrade = "photo"\ncontinuous = true\nchoices = 2\n'
    )
    out = tmp_path / "run"
    options = ("--recipe", recipe, "--steps", 2, "--device", "cpu")
    assert spanpp("train", folder, "-o", out, *options) == 0
    with safe_open(out / "spanpp.safetensors", "pt") as file:
        settings = json.loads(file.metadata()["training"])
    assert settings["steps"] == settings["step"] == 2
    assert (settings["loss"], settings["degrade"]) == ("charbonnier", "photo")
    assert spanpp_core.load(out / "spanpp.safetensors").continuous


def test_weights_that_know_fractions_are_trained_on_them_further(
    tmp_path, folder, capsys
):
    options = ("--weights", spanpp_core.bundled_model(), "--plain", "--steps", 1)
    few = ("--batch", 1, "--patch", 12, "--device", "cpu")
    for name, flags in (("as-they-are", ()), ("whole", ("--whole",))):
        assert (
            spanpp("train", folder, "-o", tmp_path / name, *options, *few, *flags) == 0
        )
    made = [
        spanpp_core.load(tmp_path / n / "spanpp.safetensors")
        for n in ("as-they-are", "whole")
    ]
    assert [model.continuous for model in made] == [True, False]
    assert "which --whole makes them forget" in capsys.readouterr().err


def test_it_stops_after_some_minutes_and_goes_on(tmp_path, folder, capsys):
    run = ("train", folder, "-o", tmp_path / "run", *TINY_RUN, "--steps", 4)
    for expected in (1, 2):
        assert spanpp(*run, "--minutes", 0) == 0
        assert f"saved at step {expected} of 4" in capsys.readouterr().err
    assert spanpp(*run) == 0
    assert "stopped" not in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts by a POSIX signal")
def test_ctrl_c_saves_the_step_at_hand(tmp_path, folder):
    program = "import sys; from spanpp_core.command import main; main()"
    root = Path(spanpp_core.__file__).parents[1]
    out = tmp_path / "run"
    arguments = ["train", str(folder), *TINY_RUN, "--steps", "100000", "-o", str(out)]
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": str(root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while child.poll() is None and not any(out.glob("events*")):
        time.sleep(0.05)
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate()
    assert child.returncode == 130
    assert "stopped and saved at step" in said
    assert (out / "state.ckpt").exists()


def test_validation_takes_grey_photos_and_shows_bicubic_beside(
    tmp_path, folder, capsys
):
    grey = images.read(folder / "raccoon.png").pixels[:, :1]
    images.write(folder / "grey.png", images.Picture(grey, 8))
    run = ("train", folder, "-o", tmp_path / "run", *TINY_RUN, "--steps", 1)
    assert spanpp(*run, "--val", folder) == 0
    said = capsys.readouterr().err
    assert "bicubic x1 " in said
    assert said.count("weights x1 ") == 2


def test_other_photos_in_the_folder_are_noticed_when_a_run_is_taken_up(
    tmp_path, folder, capsys
):
    run = ("train", folder, "-o", tmp_path / "run", *TINY_RUN)
    assert spanpp(*run, "--steps", 1) == 0
    (folder / "raccoon.png").rename(folder / "other.png")
    assert spanpp(*run, "--steps", 2) == 2
    assert "holds a run with photos = 1 files, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "devices"), [("cpu", 1), ("cuda:1", [1])], ids=["any", "that one"]
)
def test_it_trains_on_the_very_device_that_was_named(
    tmp_path, folder, monkeypatch, name, devices
):
    given = {}

    class Seen(Exception):
        pass

    def fabric(**settings):
        given.update(settings)
        raise Seen

    monkeypatch.setattr("spanpp_core.training.run.Fabric", fabric)
    monkeypatch.setattr("spanpp_core.command.train.device_named", torch.device)
    run = ("train", folder, "-o", tmp_path / "run", *TINY_RUN[:-1])
    assert spanpp(*run, name) == 2
    assert given["accelerator"] == name.partition(":")[0]
    assert given["devices"] == devices
