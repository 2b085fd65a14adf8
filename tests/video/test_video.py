"""A video through the core: all is kept but the size."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import (
    BT709,
    LIMITED,
    TWICE,
    UNEVEN,
    Contents,
    contents,
    picture,
    write_clip,
)

from spanpp_core import Size, SpanPPDescriptor, VideoError, upscale
from spanpp_core.backends import selection
from spanpp_core.backends.prepared_weights import PreparedRunner
from spanpp_core.video import codecs_here, upscale_video
from spanpp_core.video.decoder import decoded, pixels
from spanpp_core.video.source import probe


def upscaled(model: SpanPPDescriptor, source: Path, **options) -> Contents:
    result = source.with_name(f"out{options.pop('suffix', '.mp4')}")
    upscale_video(model, source, result, options.pop("size", TWICE), **options)
    assert {path.name for path in source.parent.iterdir()} == {source.name, result.name}
    return contents(result)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("times", [None, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("segment", [3, 120])
def test_all_is_kept_but_the_size(tmp_path, model, suffix, times, segment):
    tags = {"color_primaries": BT709, "color_trc": BT709, "colorspace": BT709}
    tags |= {"color_range": LIMITED, "sample_aspect_ratio": Fraction(4, 3)}
    source = write_clip(tmp_path / f"in{suffix}", times=times, tags=tags)
    before = contents(source)
    after = upscaled(model, source, suffix=suffix, segment=segment)
    assert after.times == before.times
    assert after.packets == before.packets
    assert before.packets["audio"]
    assert after.video == before.video | {"size": (36, 48)}
    assert (after.title, after.chapters) == ("a clip", ["first"])


def test_frames_are_those_of_the_network(tmp_path, model):
    """Through a lossless codec, so that only rounding is between them."""
    source = write_clip(tmp_path / "in.mkv", codec="ffv1", pixel_format="yuv444p")
    clip = probe(source)
    result = str(tmp_path / "out.mkv")
    upscale_video(model, str(source), result, TWICE, codec="ffv1")
    made = probe(result)
    assert made.pixel_format == clip.pixel_format == "yuv444p"
    pairs = zip(decoded(clip), decoded(made))
    for (pts, _, frame), (out_pts, _, out_frame) in pairs:
        image = pixels(clip, frame, model.device)
        expected = upscale(model, image, size=TWICE)
        found = pixels(made, out_frame, model.device)
        # colours that no Y'CbCr of 8 bits stands for are moved to one that does
        assert (found - expected).abs().quantile(0.99) < 0.01
        assert pts == out_pts


def test_where_triton_fails_the_jiterator_makes_the_frames(
    tmp_path, model, monkeypatch
):
    """The backend of a video is kept by name, and what is asked for by name has no stand-in."""
    made: list[str] = []

    class NoCompiler(PreparedRunner):
        def __init__(self, network):
            raise RuntimeError("Failed to find C compiler")

    class Fused(PreparedRunner):
        def features(self, x):
            made.append("fused")
            return super().features(x)

    monkeypatch.setitem(selection.RUNNERS, "triton", NoCompiler)
    monkeypatch.setitem(selection.RUNNERS, "jiterator", Fused)
    monkeypatch.setattr(
        selection,
        "fastest_backend",
        lambda network, backend, *_: "triton" if backend == "auto" else backend,
    )
    source = write_clip(tmp_path / "in.mp4")
    frames = len(upscaled(model, source).times)
    assert len(made) == frames
    assert "triton" in model.backends.failures


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p", "yuv444p10le"])
def test_depth_and_chroma_are_kept(tmp_path, model, pixel_format):
    source = write_clip(tmp_path / "in.mp4", pixel_format=pixel_format)
    assert upscaled(model, source).video["format"] == pixel_format


@pytest.mark.parametrize(
    ("codec", "pixel_format", "expected"),
    [
        ("ffv1", "bgr0", "yuv420p"),
        ("ffv1", "gray", "yuv420p"),
        ("ffv1", "gbrp10le", "yuv420p10le"),
        ("ffv1", "yuv411p", "yuv422p"),
        ("mjpeg", "yuvj420p", "yuv420p"),
        ("libx264", "nv12", "yuv420p"),
    ],
)
def test_other_pixel_formats_keep_their_colours(
    tmp_path, model, codec, pixel_format, expected
):
    source = write_clip(tmp_path / "in.mkv", codec=codec, pixel_format=pixel_format)
    result = tmp_path / "out.mkv"
    upscale_video(model, source, result, Size(factor=1), crf=1)
    clip, made = probe(source), probe(result)
    assert contents(result).video["format"].replace("yuvj", "yuv") == expected
    assert made.encoding.full_range == (codec == "mjpeg")
    (_, _, first), (_, _, out_first) = next(decoded(clip)), next(decoded(made))
    image = pixels(clip, first, model.device)
    wanted = upscale(model, image, size=Size(factor=1)).mean((0, 2, 3))
    found = pixels(made, out_first, model.device).mean((0, 2, 3))
    assert (found - wanted).abs().max() < 0.02


@pytest.mark.parametrize("codec", codecs_here())
def test_every_codec(tmp_path, model, codec):
    source = write_clip(tmp_path / "in.mkv", size=(64, 72))
    after = upscaled(model, source, suffix=".mkv", codec=codec, segment=4)
    assert after.times == contents(source).times
    assert after.video["size"] == (128, 144)
    for i, frame in enumerate(after.frames):  # in the order they were shown in
        others = [np.abs(frame.astype(int) - each).mean() for each in after.frames]
        assert min(others) == others[i]


def test_odd_sizes_lose_their_last_row_and_column(tmp_path, model):
    source = write_clip(
        tmp_path / "in.mkv", size=(17, 23), codec="ffv1", pixel_format="yuv444p"
    )
    options = {"suffix": ".mkv", "size": Size(factor=3)}
    whole = upscaled(model, source, codec="ffv1", **options)
    assert whole.video["size"] == (51, 69)
    (tmp_path / "out.mkv").unlink()
    source.unlink()
    source = write_clip(tmp_path / "in.mkv", size=(17, 23), codec="mpeg4")
    assert upscaled(model, source, **options).video["size"] == (50, 68)


def test_subtitles_are_copied_or_named(tmp_path, model):
    source = write_clip(tmp_path / "in.mkv", subtitles=True)
    text = contents(source).packets["subtitle"]
    assert text
    assert upscaled(model, source, suffix=".mkv").packets["subtitle"] == text
    made = upscale_video(model, source, tmp_path / "out.mp4", TWICE)
    assert made.left_out == ("subtitle stream 2",)


def test_rotated_is_made_upright(tmp_path, model):
    source = write_clip(tmp_path / "in.mp4")
    clip = probe(source)
    turned = replace(clip, turns=1)
    (_, _, frame) = next(decoded(clip))
    upright = pixels(turned, frame, model.device)
    assert upright.equal(pixels(clip, frame, model.device).rot90(1, (2, 3)))


@pytest.mark.gpu
def test_a_gpu_makes_the_frames_of_the_cpu(tmp_path, make):
    """Each stage has a stream of its own there: a frame read too early would differ."""
    times = [512 * i for i in range(60)]
    source = write_clip(tmp_path / "in.mkv", codec="ffv1", times=times, size=(90, 120))
    made = []
    for device in ("cpu", "cuda"):
        result = tmp_path / f"{device}.mkv"
        network = make().to(torch.device(device))
        upscale_video(network, source, result, TWICE, codec="ffv1", segment=25)
        made.append(contents(result))
    expected, found = made
    assert found.times == expected.times
    for i, (frame, same) in enumerate(zip(found.frames, expected.frames)):
        assert np.abs(frame.astype(int) - same).max() <= 2, f"frame {i}"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_part_of_a_video_begins_at_zero_and_keeps_its_sound(tmp_path, model, suffix):
    source = write_clip(tmp_path / f"in{suffix}", times=[512 * i for i in range(50)])
    before = contents(source)
    after = upscaled(model, source, suffix=suffix, start=0.4, end=1.2)
    assert after.times == [time - Fraction(2, 5) for time in before.times[10:30]]
    heard = [packet for time, packet in before.packets["audio"] if 0.4 <= time < 1.2]
    assert [packet for _, packet in after.packets["audio"]] == heard
    assert 0 <= after.packets["audio"][0][0] < 0.03
    assert not after.chapters


@pytest.mark.parametrize("first", [-3, 250])
@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4", ".ts"])
def test_frames_may_begin_at_any_time(tmp_path, model, suffix, first):
    """A part of a recording often keeps its times; some begin before zero."""
    source = tmp_path / f"in{suffix}"
    codec = "libvpx-vp9" if suffix == ".webm" else "mpeg4"
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(source), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 24, 18, "yuv420p"
        for i in range(10):
            frame = picture(i, 18, 24).reformat(format="yuv420p")
            frame.pts, frame.time_base = first + i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    before = contents(source)
    after = upscaled(model, source, suffix=".webm", size=Size(factor=1))
    assert after.times == before.times


@pytest.mark.parametrize("part", [{"start": 9}, {"start": 0.5, "end": 0.5}])
def test_a_part_without_frames_is_one_line_and_leaves_nothing(tmp_path, model, part):
    source = write_clip(tmp_path / "in.mkv")
    with pytest.raises(VideoError, match=r"in.mkv: has no frames from .* s to "):
        upscale_video(model, source, tmp_path / "out.mkv", TWICE, **part)
    assert list(tmp_path.iterdir()) == [source]


def test_a_rate_that_no_encoder_takes_is_not_passed_on(tmp_path, model, monkeypatch):
    """Some Matroska files claim thousands of frames a second."""
    source = write_clip(tmp_path / "in.mkv", size=(64, 72))
    clip = probe(source)
    with av.open(str(source)) as old, av.open(str(tmp_path / "odd.mkv"), "w") as new:
        stream = old.streams.video[0]
        copied = new.add_stream_from_template(stream, opaque=True)
        for packet in old.demux(stream):
            if packet.size:
                packet.stream = copied
                new.mux(packet)
    with av.open(str(tmp_path / "odd.mkv")) as odd:
        assert odd.streams.video[0].average_rate > 240
    source.unlink()
    after = upscaled(model, tmp_path / "odd.mkv", suffix=".mkv", codec="libsvtav1")
    assert len(after.times) == clip.frames
