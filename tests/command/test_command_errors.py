"""What goes wrong in the command ends in one line; with --debug it is shown where."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from front_door import spanpp
from picture_files import noise, write
from PIL import Image
from tiny import too_large_for_float16, training_network

from spanpp_core.command import main

FP16 = ("--precision", "fp16")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["upscale", "in.png", "-o", "x", "-s", "9"], "9 times the input"),
        (["upscale", "in.png", "-o", "x", "-s", "nan"], "is not a factor"),
        (["upscale", "in.png", "-o", "x", "--fit", "0x9"], "3840x2160"),
        (["upscale", "in.png", "-o", "x", "--width", "0"], "--width"),
        (["upscale", "in.png", "-o", "x", "--width", "99"], "largest possible scale"),
        (["upscale", "in.png", "-o", "x", "--device", "meta"], "the device meta"),
        (["upscale", "in.png", "-o", "x", "--codec", "h265"], "libx264, libx265,"),
        (["upscale", "in.png", "-o", "x", "--precision", "fp8"], "bf16 or bfloat16"),
        (["export", "m.pth", "-o", "x", "--precision", "bf16"], "fp16 or float16"),
        (["train", "sub", "-o", "x", "--precision", "float16"], "bf16 or bfloat16"),
        (["upscale", "in.png", "-o", "in.txt"], "is a file"),
        (["upscale", "in.png", "in.txt", "-o", "x.png"], "give a folder"),
        (["upscale", "empty", "-o", "x"], "no images or videos in empty"),
        (["upscale", "in.png", "-o", "in.png", "--overwrite"], "replace itself"),
        (["upscale", "in.png", "-o", "in.png"], "replace itself"),
        (["upscale", "sub", "-o", "sub"], "replace itself"),
        (["upscale", "two.tif", "-o", "x"], "has 2 pages"),
        (["upscale", "[b].png", "-o", "x"], "[b].png: no such file"),
        (
            ["upscale", "in.png", "-o", "x", "-s", "2", "--width", "9"],
            "factor and width",
        ),
        (["upscale", "in.png", "-o", "x", "--fit", "big"], "3840x2160"),
        (["upscale", "in.png", "-o", "x", "-m", "none.pth"], "no such file"),
        (["upscale", "in.png", "-o", "x", "--device", "cuda:99"], "the device cuda:99"),
        (["upscale", "in.png"], "--out"),
        (["upscale", "in.png", "sub/in.png", "-o", "x"], "two folders"),
        (["info", "in.png"], "expected one of"),
        (["export", "none.pth", "-o", "x"], "no such file"),
        (["upscale", "in.png", "-o", "x", "--repair", "1.5"], "from 0 (clean) to 1"),
        (["upscale", "in.png", "-o", "x", "-r", "1", "-m", "m.pth"], "m_repair.pth"),
        (["upscale", "in.png", "-o", "x", "-m", "big.pth", *FP16], "use float32"),
        (["export", "big.pth", "-o", "x", "-f", "torchscript", *FP16], "use float32"),
        (["export", "big.pth", "-o", "x", "-f", "safetensors", *FP16], "store float32"),
        (
            ["train", "sub", "-o", "x", "--recipe", "no.toml"],
            "spanpp: no.toml: No such",
        ),
        (["upscale", "phtoos", "-o", "x"], "phtoos: no such file"),
        (["upscale", "", "-o", "x"], "a name is empty"),
        (["upscale", "in.png", "-o", ""], "a name is empty"),
        (["upscale", "in.png", "-o", "-"], "pipes are neither read nor written"),
        (["upscale", "-", "-o", "x"], "pipes are neither read nor written"),
        (["upscale", "in.png", "-o", "in.txt/x"], "spanpp: in.txt/x: Not a directory"),
        (["demo", "-o", "in.txt"], "spanpp: in.txt: File exists"),
        (["export", "m.pth", "-o", "in.txt", "-f", "onnx"], "in.txt is a file; give a"),
        (["nonsense"], "nonsense"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    pixels = noise(8, 8, 3, np.uint8)
    for folder in ("sub", "empty"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "in.png", pixels)
    write(tmp_path / "sub" / "in.png", pixels)
    (tmp_path / "in.txt").write_text("text")
    torch.save(training_network().state_dict(), tmp_path / "m.pth")
    torch.save(too_large_for_float16(), tmp_path / "big.pth")
    page = Image.fromarray(pixels)
    page.save(tmp_path / "two.tif", save_all=True, append_images=[page])
    assert spanpp(*arguments) in (1, 2)
    reported = capsys.readouterr().err.strip()
    assert message in reported
    assert reported.startswith("spanpp: ")
    assert "\n" not in reported


def test_a_bug_is_one_line_and_debug_shows_where_it_arose(monkeypatch, capsys):
    def broken(path: Path) -> None:
        raise KeyError("weight")

    monkeypatch.setattr("spanpp_core.command.info.describe", broken)
    assert spanpp("info") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "KeyError" in line
    assert "--debug" in line
    assert spanpp("info", "--debug") == 2
    assert "in broken" in capsys.readouterr().err


def test_debug_shows_where_a_file_failed(tmp_path, weights, caplog):
    assert spanpp("--debug", "upscale", tmp_path / "none.png", "-o", tmp_path) == 1
    assert any(record.exc_info for record in caplog.records)


def test_names_are_printed_where_an_output_holds_few_letters(tmp_path, monkeypatch):
    """As on Windows, where a pipe has the letters of one part of the world."""
    path = tmp_path / "模型.pth"
    torch.save(training_network().state_dict(), path)
    piped = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(piped, "cp1252"))
    monkeypatch.setattr(sys, "argv", ["spanpp", "info", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    sys.stdout.flush()
    assert ended.value.code == 0
    assert "u6a21" in "".join(piped.getvalue().decode("cp1252").split())
