"""A video that was stopped goes on where it was, or begins anew where it has to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clips import TWICE, UNEVEN, write_clip
from front_door import spanpp

from spanpp_core import SpanPPDescriptor
from spanpp_core.engine import resized
from spanpp_core.engine.pipeline import SMALLEST_TILE
from spanpp_core.video import VideoError, upscale_video


class Killed(BaseException):
    """As a signal does, this ends a run anywhere."""


def run_to_the_end(model: SpanPPDescriptor, source: Path, result: Path, **options):
    """Returns the numbers of the frames that went through the network."""
    done: list[int] = []
    upscale_video(
        model,
        source,
        result,
        TWICE,
        segment=3,
        on_progress=lambda count, _: done.append(count),
        **options,
    )
    return done


def stop_at(frame: int):
    def report(done: int, _total: int) -> None:
        if done >= frame:
            raise Killed

    return report


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("frame", [1, 4, 7, 10])
def test_resumed_is_equal_to_uninterrupted(tmp_path, model, frame, suffix):
    source = write_clip(tmp_path / "in.mp4", times=UNEVEN)
    whole, resumed = tmp_path / f"whole{suffix}", tmp_path / f"resumed{suffix}"
    upscale_video(model, source, whole, TWICE, segment=3)
    with pytest.raises(Killed):
        upscale_video(
            model, source, resumed, TWICE, segment=3, on_progress=stop_at(frame)
        )
    assert not resumed.exists()
    done = run_to_the_end(model, source, resumed)
    finished = (frame - 1) // 3 * 3
    assert done == list(range(finished + 1, len(UNEVEN) + 1))
    assert resumed.read_bytes() == whole.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {
        source.name,
        whole.name,
        resumed.name,
    }


def test_a_killed_process_is_resumed(tmp_path, weights):
    """The command itself, ended at once in the middle of the second segment."""
    source = write_clip(tmp_path / "in.mp4", times=[512 * i for i in range(200)])
    result = tmp_path / "out.mp4"
    code = f"""
import os
from spanpp_core.command import app
from spanpp_core.video import encoder
encode = encoder.Encoder.encode
def dying(self, pts, duration, planes):
    if pts == 512 * 150:
        os._exit(99)
    return encode(self, pts, duration, planes)
encoder.Encoder.encode = dying
words = ["upscale", {str(source)!r}, "-o", {str(result)!r}, "-m", {str(weights)!r}]
app.run([*words, "--device", "cpu"])
"""
    # one thread, as here: with more, sums are taken in another order
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], check=False, env=environment)
    assert done.returncode == 99
    assert not result.exists()
    (kept,) = (tmp_path / ".out.mp4.spanpp").glob("*.segment")
    assert kept.stem == "000000"
    arguments = ["upscale", source, "-m", weights, "--device", "cpu", "-o"]
    assert spanpp(*arguments, result) == 0
    assert spanpp(*arguments, tmp_path / "whole.mp4") == 0
    assert result.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.parametrize(
    "change", [{"crf": 30}, {"codec": "ffv1"}, {"tile": 16}, {"fractional": "native"}]
)
def test_other_settings_begin_anew(tmp_path, model, change):
    source = write_clip(tmp_path / "in.mp4")
    result = tmp_path / "out.mp4"
    with pytest.raises(Killed):
        upscale_video(model, source, result, TWICE, segment=3, on_progress=stop_at(7))
    done = run_to_the_end(model, source, result, **change)
    assert done[0] == 1


def test_the_tile_for_the_memory_a_host_counts_as_free_is_kept(
    tmp_path, model, monkeypatch
):
    tiles: list[int] = []
    run = resized.upscale_tiled

    def noting(model, image, tile, *others, **named):
        tiles.append(tile)
        return run(model, image, tile, *others, **named)

    monkeypatch.setattr(resized, "upscale_tiled", noting)
    source = write_clip(tmp_path / "in.mp4")
    result = tmp_path / "out.mp4"
    with pytest.raises(Killed):
        upscale_video(
            model, source, result, TWICE, segment=3, on_progress=stop_at(7), free=1
        )
    assert run_to_the_end(model, source, result)[0] > 1
    assert set(tiles) == {SMALLEST_TILE}


def test_another_source_or_model_begins_anew(tmp_path, make):
    source, result = write_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    model = make()
    for then in ("source", "model"):
        with pytest.raises(Killed):
            upscale_video(
                model, source, result, TWICE, segment=3, on_progress=stop_at(7)
            )
        if then == "source":
            write_clip(source, times=UNEVEN)
        else:
            model = make(channels=8)
        done = run_to_the_end(model, source, result)
        assert done[0] == 1
        result.unlink()


def test_two_processes_do_not_write_one_result(tmp_path, model, weights):
    """The second is told so at once; the first goes on, and the lock ends with it."""
    source = write_clip(tmp_path / "in.mp4", times=UNEVEN)
    result = tmp_path / "out.mp4"
    code = f"""
from spanpp_core.command import app
words = ["upscale", {str(source)!r}, "-o", {str(result)!r}, "-m", {str(weights)!r}]
raise SystemExit(app.run([*words, "--device", "cpu"]))
"""
    ended: list[subprocess.CompletedProcess[str]] = []

    def begin_another(done: int, total: int) -> None:
        if done == 4:
            second = [sys.executable, "-c", code]
            ended.append(
                subprocess.run(second, check=False, capture_output=True, text=True)
            )

    upscale_video(model, source, result, TWICE, segment=3, on_progress=begin_another)
    (second,) = ended
    assert second.returncode == 1
    (line,) = second.stderr.strip().splitlines()
    assert line.startswith(f"spanpp: {result}: another run is writing it")
    assert {path.name for path in tmp_path.iterdir()} == {source.name, result.name}


def test_a_folder_in_the_place_of_the_result_is_told_before_the_first_frame(
    tmp_path, model, weights, capsys
):
    source, result = write_clip(tmp_path / "in.mp4"), tmp_path / "out" / "in.mp4"
    result.mkdir(parents=True)
    done: list[int] = []
    with pytest.raises(VideoError, match="is a folder"):
        upscale_video(
            model, source, result, TWICE, on_progress=lambda i, _: done.append(i)
        )
    assert not done
    for more in ((), ("--overwrite",)):
        assert spanpp("upscale", source, "-o", result.parent, "-m", weights, *more) == 1
        assert f"{result} is a folder" in capsys.readouterr().err
    assert list(result.parent.iterdir()) == [result]


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path, model):
    source = write_clip(tmp_path / "in.mp4")
    theirs = tmp_path / ".out.mp4.spanpp" / "letter.txt"
    theirs.parent.mkdir()
    theirs.write_text("dear")
    with pytest.raises(VideoError, match="in the way and not ours"):
        upscale_video(model, source, tmp_path / "out.mp4", TWICE)
    assert theirs.read_text() == "dear"
