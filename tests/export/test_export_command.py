"""``spanpp export``."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("typer", reason="pip install 'spanpp[cli]' to run this")

import spanpp_core
from spanpp_core.command.app import run


def test_scales_as_a_list(model_file, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["export", str(model_file), "-o", str(out), "-f", "torchscript"]
    assert run([*words, "--scales", "1", "2", "3"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        f"small_x{scale}.torchscript.pt" for scale in (1, 2, 3)
    ]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    assert all("from the model (1e-05 allowed)" in line for line in printed)


def test_names_are_printed_as_they_are(model_file, tmp_path, capsys):
    out = tmp_path / "the [red] ones, 10:20"
    words = ["export", str(model_file), "-o", str(out), "-f", "safetensors"]
    assert run(words) == 0
    assert str(out / "small_slim.safetensors") in capsys.readouterr().out


def test_all_trained_scales(model_file, tmp_path):
    out = tmp_path / "out"
    words = ["-o", str(out), "--format", "torchscript", "--format", "safetensors"]
    assert run(["export", str(model_file), *words, "--all-trained"]) == 0
    assert len(list(out.iterdir())) == 5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--static", "8"], "--static 8 is not a size"),
        (["2", "3"], "scales go after --scales"),
        (["--scales", "2", "--all-trained"], "not both"),
        (["--format", "gguf"], "give one or more of onnx"),
        (["-f", "torchscript", "--scales", "2.5"], "is a fraction"),
        (["-f", "torchscript", "--scales", "9"], "scale 9.0 is not possible"),
        (["-f", "torchscript", "--scales", "two"], "'two' is not a factor"),
        (["-f", "torchscript", "--scales", "4/3"], "x1.33333 is a fraction"),
    ],
)
def test_one_line_says_what_is_wrong(model_file, tmp_path, capsys, words, reason):
    assert run(["export", str(model_file), "-o", str(tmp_path / "out"), *words]) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_slim_files_are_smaller_and_give_the_same_pictures(tmp_path, weights, capsys):
    words = ["export", str(weights), "-o", str(tmp_path), "-f", "safetensors"]
    words += ["--name", "mine", "--precision", "fp16"]
    assert run(words) == 0
    slim = tmp_path / "mine_slim_fp16.safetensors"
    assert slim.stat().st_size < weights.stat().st_size
    x = torch.rand(1, 3, 8, 8)
    difference = spanpp_core.load(slim)(x) - spanpp_core.load(weights)(x)
    assert difference.abs().max() < 0.05
    assert run(words) == 2
    assert "--overwrite" in capsys.readouterr().err
