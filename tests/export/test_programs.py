"""``spanpp export --for PROGRAM``: the format, names and scales it expects."""

from __future__ import annotations

import pytest

pytest.importorskip("typer", reason="pip install 'spanpp[cli]' to run this")

from spanpp_core.command.app import run
from spanpp_core.export import ExportError, ExportOptions
from spanpp_core.export.programs import PROGRAMS, request


@pytest.mark.parametrize(
    ("program", "names"),
    [
        ("upscayl", ["small-4x.bin", "small-4x.param"]),
        ("vs-mlrt", ["small_x2.onnx"]),
        (
            "video2x",
            [
                f"realesrgan-plus-x{s}.{kind}"
                for s in (2, 3, 4)
                for kind in ("bin", "param")
            ],
        ),
        ("animejanai", ["2x_small_fp16_span.onnx"]),
    ],
)
def test_writes_what_a_program_expects(model_file, tmp_path, capsys, program, names):
    for package in ("onnx", "onnxruntime", "ncnn"):
        pytest.importorskip(package)
    out = tmp_path / "out"
    assert run(["export", str(model_file), "-o", str(out), "--for", program]) == 0
    assert sorted(path.name for path in out.iterdir()) == names
    assert capsys.readouterr().out.splitlines()[-1] == PROGRAMS[program].hint


@pytest.mark.parametrize(
    ("program", "scale", "choice"),
    [
        ("vs-mlrt", 2.5, "x2 or x3"),
        ("upscayl", 6, "x4"),
        ("video2x", 1.5, "x1 or x2"),
    ],
)
def test_names_the_nearest_scale_a_program_takes(program, scale, choice):
    with pytest.raises(ExportError, match=f"choose {choice}"):
        request(program, [scale], ExportOptions())


def test_the_program_chooses_the_format(model_file, tmp_path, capsys):
    words = ["--for", "upscayl", "-f", "onnx"]
    assert run(["export", str(model_file), "-o", str(tmp_path), *words]) == 2
    assert "--for upscayl chooses the format" in capsys.readouterr().err
