"""``spanpp upscale`` on videos: what it says, what it refuses, and what memory it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from clips import write_clip, write_sound
from front_door import spanpp

from spanpp_core import optional


def test_the_command(tmp_path, weights, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    write_clip(folder / "one.mp4")
    write_clip(folder / "two.avi", codec="mpeg4", sound=None)
    out = tmp_path / "out"
    arguments = ["upscale", folder, "-o", out, "-m", weights, "-s", "1.5"]
    assert spanpp(*arguments) == 0
    assert "24x18 ->" in (said := capsys.readouterr().out)
    assert "36x26, 10 frames, libx264" in said
    assert {path.name for path in out.iterdir()} == {"one.mp4", "two.mkv"}
    before = (out / "one.mp4").stat().st_mtime_ns
    assert spanpp(*arguments) == 0
    assert "left as it is" in capsys.readouterr().out
    assert (out / "one.mp4").stat().st_mtime_ns == before
    assert spanpp(*arguments, "--overwrite", "--codec", "prores_ks") == 1
    said, failed = capsys.readouterr()
    assert "spanpp: .mp4 cannot hold prores_ks" in failed
    assert "two.mkv 36x27, 10 frames, prores_ks" in said


def cut_off(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("text.mp4", [], "damaged or not a video"),
        ("none.mp4", [], "no such file"),
        ("cut.mp4", [], "damaged or not a video"),
        ("cut.mkv", [], "cut off, copy or download it again"),
        ("sound.mkv", [], "has no video that can be decoded"),
        ("in.mkv", ["--codec", "h264"], "'h264' is not one of libx264"),
        ("in.mkv", ["--codec", "ffv1", "--crf", "3"], "no constant quality (crf)"),
        ("in.mkv", ["--codec", "libx265", "--crf", "60"], "give 0 (best) to 51"),
        ("in.mkv", ["--codec", "libx265"], "48 pixels are too narrow for libx265"),
        ("in.mkv", ["--scale", "9"], "9 times the input"),
        ("in.mkv", ["-o", "out.png"], "can write .mp4, .m4v"),
        ("in.mkv", ["-o", "in.mkv", "--overwrite"], "would replace itself"),
        ("in.mkv", ["-o", "out.webm"], "cannot hold the aac sound"),
        (
            "in.mkv",
            ["-o", "out.webm", "--codec", "prores_ks"],
            "cannot hold prores_ks",
        ),
        ("in.mkv", ["--width", "1"], "at least 2x2 pixels"),
    ],
)
def test_errors_are_one_line(
    tmp_path, monkeypatch, capfd, weights, name, options, message
):
    monkeypatch.chdir(tmp_path)
    even = [512 * 25 * i // 5 for i in range(25)]
    Path("text.mp4").write_text("not a video")
    write_clip(Path("in.mkv"))
    cut_off(write_clip(Path("cut.mp4")), 0.5)
    cut_off(write_clip(Path("cut.mkv"), times=even, size=(64, 64)), 0.5)
    write_sound(Path("sound.mkv"))
    before = sorted(Path().iterdir())
    given = options if "-o" in options else [*options, "-o", "out.mp4"]
    assert spanpp("upscale", name, "-m", weights, *given) in (1, 2)
    reported = capfd.readouterr().err.strip()
    assert message in reported
    assert len(reported.splitlines()) == 1
    assert sorted(Path().iterdir()) == before


def test_without_its_extra_it_names_it(tmp_path, weights, monkeypatch, capsys):
    source = write_clip(tmp_path / "in.mp4")
    monkeypatch.setattr(optional, "missing", list)
    assert spanpp("upscale", source, "-o", tmp_path / "out.mp4", "-m", weights) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "videos needs av" in line
    assert "install 'spanpp[video]'" in line


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read as Linux has them")
def test_memory_does_not_grow_with_length(tmp_path, weights):
    """The peak of four times the frames is the same, but for a tenth of the results."""
    peaks: list[int] = []
    for count in (60, 240):  # more than the encoder looks ahead
        source = write_clip(
            tmp_path / f"{count}.mp4",
            times=[512 * i for i in range(count)],
            size=(120, 160),
        )
        code = f"""
import resource
import psutil
from spanpp_core.command import app
assert app.run(["upscale", {str(source)!r}, "-o", {str(tmp_path / "out")!r}, "-m",
                {str(weights)!r}, "-s", "2"]) == 0
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
# without libraries: of them as much as the system happens to keep in memory
print(peak - psutil.Process().memory_info().shared)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        peaks.append(int(done.stdout.split()[-1]))
    results = (240 - 60) * 240 * 320 * 3 * 4
    assert peaks[1] - peaks[0] < results / 10, peaks
