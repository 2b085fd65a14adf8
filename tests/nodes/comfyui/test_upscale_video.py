"""Upscale Video without a host: files in and out, finished, stopped, and cut."""

from __future__ import annotations

import sys
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from stand_in_host import Host, Interrupted, VideoFromComponents, VideoFromFile

import spanpp_core
from spanpp_core.video.colour import Encoding, to_planes, to_rgb
from spanpp_core.video.decoder import decoded, pixels
from spanpp_core.video.source import probe

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


def test_frames_a_second_and_the_time_left_are_said_each_second(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[f"{host.pack.__name__}.nodes.comfyui.progress"]
    times = iter([100.0, 100.5, 102.0, 102.1, 110.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))
    progress = module.FrameProgress(host.node("SpanPPUpscaleVideo"))
    for done in (41, 42, 45, 46, 61):  # 40 were there: it resumes
        progress(done, 10000)
    assert [text for _, text in host.texts] == [
        "frame 45 of 10000 · 2 frames/s · 1:22:58 left",
        "frame 61 of 10000 · 2 frames/s · 1:22:50 left",
    ]


def test_what_comfyui_can_evict_counts_as_free(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[f"{host.pack.__name__}.nodes.comfyui.upscale_video"]
    given: list[int] = []
    made = module.upscale_video

    def noting(*files: Any, **named: Any) -> Any:
        given.append(named["free"])
        return made(*files, **named)

    monkeypatch.setattr(module, "bring_to_device", lambda model, memory: 12345)
    monkeypatch.setattr(module, "upscale_video", noting)
    run(host, VideoFromFile(str(write_clip(tmp_path / "in.mp4"))))
    assert given == [12345]


def test_a_buffer_is_written_to_a_file_first(host: Host, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4")
    of_file = run(host, VideoFromFile(str(source)))
    of_buffer = run(host, VideoFromFile(BytesIO(source.read_bytes())))
    assert of_buffer.read_bytes() == of_file.read_bytes()


@pytest.mark.parametrize(("window", "frames"), [((0.2, 0.12), 3), ((0.2, 0.0), 5)])
@pytest.mark.parametrize("in_memory", [False, True])
def test_a_cut_video_is_cut_exactly(
    host: Host,
    tmp_path: Path,
    window: tuple[float, float],
    frames: int,
    in_memory: bool,
) -> None:
    source = write_clip(tmp_path / "in.mp4")

    class Cut(VideoFromFile):
        def get_active_trim_window(self) -> tuple[float, float]:
            return window

    file = BytesIO(source.read_bytes()) if in_memory else str(source)
    after, whole = (contents(run(host, each(file))) for each in (Cut, VideoFromFile))
    assert after.times == [time - Fraction(1, 5) for time in whole.times[5:][:frames]]


@pytest.mark.parametrize("bits", [8, 10])
def test_images_are_taken_without_loss_at_odd_sizes(host: Host, bits: int) -> None:
    images = torch.rand(4, 41, 51, 3, generator=torch.Generator().manual_seed(0))
    sound = {"waveform": torch.zeros(1, 2, 48000), "sample_rate": 48000}
    video = VideoFromComponents(images, 29.97, sound, bits)
    more = {"size": "factor", "size.factor": 1.0, "codec": "ffv1", "container": "mkv"}
    result = run(host, video, **more)
    made = contents(result)
    assert len(made.times) == 4
    assert made.times[1] == pytest.approx(1 / 29.97, abs=0.001)  # as Matroska has it
    assert made.video["size"] == (40, 50)
    assert made.video["format"] == ("yuv420p" if bits == 8 else "yuv420p10le")
    assert made.packets["audio"]
    steps = 2**bits - 1
    model = spanpp_core.load(spanpp_core.bundled_model()).at_scale(1)
    network = model.with_dtype(spanpp_core.fastest_dtype(images.device))
    stored = (images[:1].movedim(-1, 1) * steps).round() / steps
    wanted = spanpp_core.upscale(network, stored)[..., :40, :50]
    encoding = Encoding(bits, 1, False)
    expected = to_rgb(to_planes(wanted, encoding, (True, True)), encoding)
    clip = probe(result)
    _, _, frame = next(decoded(clip))
    assert (pixels(clip, frame, images.device) - expected).abs().max() < 3 / steps


def test_images_of_older_hosts_have_no_depth(host: Host) -> None:
    class Older(VideoFromComponents):
        get_bit_depth = None

    video = Older(torch.rand(3, 16, 16, 3))
    assert contents(run(host, video)).video["size"] == (32, 32)


def test_mkv_has_no_frames_out_of_order(host: Host, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", times=[512 * i for i in range(40)])
    for codec in ("libx264", "libx265"):
        video = (
            write_clip(tmp_path / "in.mp4", size=(64, 64)) if "5" in codec else source
        )
        result = run(host, VideoFromFile(str(video)), codec=codec, container="mkv")
        with av.open(str(result)) as container:
            packets = [each for each in container.demux(video=0) if each.size]
        assert all(packet.dts is not None for packet in packets), codec


@pytest.mark.parametrize("content", [b"", b"not a video"])
def test_what_is_no_video_is_said_in_one_line(
    host: Host, tmp_path: Path, content: bytes
) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or not a video") as caught:
        run(host, VideoFromFile(str(source)))
    assert "\n" not in str(caught.value)


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
        run(host, VideoFromFile(str(source)), crf=30),
        run(host, VideoFromFile(str(source)), 1.5),
        run(host, VideoFromFile(str(source)), 1.5, method="downscale"),
        run(host, VideoFromFile(str(source)), **{"size": "width", "size.width": 50}),
    ]
    assert len({first, *others}) == 7
    assert run(host, VideoFromFile(str(source)), tile=64) == first
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
