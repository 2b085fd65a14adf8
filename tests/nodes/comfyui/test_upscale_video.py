"""Upscale Video without a host: files in and out, finished, stopped, and cut."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from stand_in_host import Host, Interrupted, VideoFromFile

sys.path.append(str(Path(__file__).parents[2] / "video"))
from clips import contents, write_clip


def run(host: Host, video: Any, scale: float = 2, **more: Any) -> Path:
    model = host.node("SpanPPLoadModel").execute("bundled").values[0].at_scale(scale)
    arguments = {"codec": "libx264", "container": "mp4", "precision": "auto", **more}
    node = host.node("SpanPPUpscaleVideo")
    (result,) = node.execute(model, video, **arguments).values
    return Path(result.get_stream_source())


def test_a_file_becomes_a_file(host: Host, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4")
    result = run(host, VideoFromFile(str(source)), 1.5)
    assert result.is_relative_to(tmp_path / "temp")
    before, after = contents(source), contents(result)
    assert after.video["size"] == (26, 36)
    assert (after.times, after.packets) == (before.times, before.packets)
    assert [done for done, _, _ in host.progress] == list(range(1, 11))
    assert "10 frames" in host.texts[-1][1]
    assert host.memory_asked


def test_a_buffer_is_written_to_a_file_first(host: Host, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4")
    of_file = run(host, VideoFromFile(str(source)))
    of_buffer = run(host, VideoFromFile(BytesIO(source.read_bytes())))
    assert of_buffer.read_bytes() == of_file.read_bytes()


def test_a_cut_video_is_saved_as_it_is_cut(host: Host, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "in.mp4")
    part = write_clip(tmp_path / "part.mp4", times=[0, 512, 1024])

    class Cut(VideoFromFile):
        def get_active_trim_window(self) -> tuple[float, float]:
            return (0.1, 0.12)

        def save_to(self, path: str) -> None:
            Path(path).write_bytes(part.read_bytes())

    assert len(contents(run(host, Cut(str(whole)))).times) == 3


def test_finished_work_is_found_and_other_work_is_not(
    host: Host, tmp_path: Path
) -> None:
    source = write_clip(tmp_path / "in.mp4")
    first = run(host, VideoFromFile(str(source)))
    host.progress.clear()
    assert run(host, VideoFromFile(str(source))) == first
    assert not host.progress
    others = [
        run(host, VideoFromFile(str(source)), 3),
        run(host, VideoFromFile(str(source)), codec="ffv1", container="mkv"),
    ]
    assert len({first, *others}) == 3
    others += [
        run(host, VideoFromFile(str(source)), precision=name)
        for name in ("float32", "bfloat16")
    ]
    assert others[-1] != others[-2]
    write_clip(source, times=[0, 512])
    assert run(host, VideoFromFile(str(source))) not in (first, *others)


def test_stop_leaves_no_result(host: Host, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4")
    host.interrupt_after = 3
    with pytest.raises(Interrupted):
        run(host, VideoFromFile(str(source)))
    assert len(host.progress) == 3
    assert not list((tmp_path / "temp" / "spanpp").glob("*.mp4"))
    host.interrupt_after = None
    assert len(contents(run(host, VideoFromFile(str(source)))).times) == 10


@pytest.mark.parametrize("name", ["codec", "container", "precision"])
def test_an_unknown_choice_is_refused(host: Host, tmp_path: Path, name: str) -> None:
    source = write_clip(tmp_path / "in.mp4")
    with pytest.raises(ValueError, match=f"{name} is 'other'; choose one of"):
        run(host, VideoFromFile(str(source)), **{name: "other"})
