"""Encoders: what is offered, what they are given, and what is said where one is missing."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import TWICE, contents, write_clip
from front_door import spanpp

from spanpp_core.video import CODECS, VideoError, codecs, codecs_here, upscale_video
from spanpp_core.video.codecs import PACKED, Codec, pixel_formats
from spanpp_core.video.encoder import Format
from spanpp_core.video.source import probe

OF_GPUS = [name for name, codec in CODECS.items() if codec.needs]
HERE = [name for name in OF_GPUS if name in av.codecs_available]


@pytest.fixture
def clip(tmp_path) -> Path:
    return write_clip(tmp_path / "in.mp4", size=(64, 144))


@pytest.fixture
def no_gpu(monkeypatch):
    def failing(name: str) -> str:
        return "Operation not permitted"

    monkeypatch.setattr(codecs, "_failure", failing)


def test_every_encoder_on_a_processor_is_here_and_opens():
    software = [name for name, codec in CODECS.items() if not codec.needs]
    assert [name for name in codecs_here() if name in software] == software
    for name in software:
        assert not codecs._failure(name)


def test_encoders_of_every_maker_of_gpus_are_known():
    kinds = {tuple(name.split("_")) for name in OF_GPUS}
    everywhere = product(("h264", "hevc", "av1"), ("nvenc", "qsv", "amf"))
    assert kinds == {
        *everywhere,
        ("h264", "videotoolbox"),
        ("hevc", "videotoolbox"),
    }


def test_encoders_of_gpus_are_offered_where_they_open(monkeypatch):
    monkeypatch.setattr(
        codecs, "_failure", lambda name: "" if "nvenc" in name else "no"
    )
    found = [name for name in codecs_here() if CODECS[name].needs]
    assert found == [name for name in HERE if "nvenc" in name]


@pytest.mark.parametrize("name", HERE)
def test_what_an_encoder_of_a_gpu_needs_is_said_before_the_work(
    no_gpu, clip, model, name
):
    needs = CODECS[name].needs
    with pytest.raises(VideoError, match=f"{name} needs {needs}") as caught:
        upscale_video(model, clip, clip.with_name("out.mp4"), TWICE, codec=name)
    assert "choose another codec" in str(caught.value)
    assert [path.name for path in clip.parent.iterdir()] == [clip.name]


@pytest.mark.parametrize("name", HERE)
def test_quality_is_set_by_the_option_that_an_encoder_has(monkeypatch, clip, name):
    monkeypatch.setattr(codecs, "_failure", lambda name: "")
    form = Format.of(probe(clip), 128, 288, name, 30, Path("out.mp4"))
    assert "crf" not in form.options
    assert {form.options[option] for option in CODECS[name].quality} == {"30"}
    usual = Format.of(probe(clip), 128, 288, name, None, Path("out.mp4"))
    for option in CODECS[name].quality:
        assert usual.options[option] == str(CODECS[name].crf)


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "yuv444p10le"])
def test_ten_bits_stay_where_an_encoder_has_them(
    monkeypatch, tmp_path, name, pixel_format
):
    monkeypatch.setattr(codecs, "_failure", lambda name: "")
    source = write_clip(tmp_path / "in.mp4", pixel_format=pixel_format)
    form = Format.of(probe(source), 288, 384, name, None, Path("out.mp4"))
    deep = pixel_format != "yuv420p" and not name.startswith("h264")
    assert form.pixel_format == ("yuv420p10le" if deep else "yuv420p")
    assert form.given_format in (form.pixel_format, PACKED[form.pixel_format])


@pytest.mark.parametrize("planar", PACKED)
def test_packed_frames_hold_the_same_samples(planar):
    top = 255 if planar == "yuv420p" else 1023
    frame = av.VideoFrame(96, 64, planar)
    frame.color_range = 2
    generator = np.random.default_rng(0)
    for plane in frame.planes:
        kind = np.uint8 if top == 255 else np.dtype("<u2")
        rows = np.frombuffer(plane, kind)
        rows[:] = generator.integers(0, top + 1, rows.size)
    back = frame.reformat(format=PACKED[planar]).reformat(format=planar)
    for plane, same in zip(frame.planes, back.planes):
        assert bytes(plane) == bytes(same)


def test_packed_frames_reach_an_encoder(monkeypatch, tmp_path, clip, model):
    """libx264 takes nv12 as well: as if it were the encoder of a GPU."""
    upscale_video(model, clip, tmp_path / "planar.mp4", TWICE)
    only_packed = Codec(**{**vars(CODECS["libx264"]), "formats": ("yuv420p",)})
    monkeypatch.setitem(CODECS, "libx264", only_packed)
    monkeypatch.setattr(codecs, "ANY_PLANAR", {})
    taken = av.codec.Codec("libx264", "w").video_formats
    packed = [each for each in taken if each.name == "nv12"]

    class OnlyPacked:
        video_formats = packed

    monkeypatch.setattr(av.codec, "Codec", lambda *_: OnlyPacked)
    assert pixel_formats("libx264") == {"yuv420p": "nv12"}
    upscale_video(model, clip, tmp_path / "packed.mp4", TWICE)
    planar, made = (contents(tmp_path / f"{name}.mp4") for name in ("planar", "packed"))
    for frame, same in zip(made.frames, planar.frames):
        assert np.array_equal(frame, same)


def test_frames_may_be_kept_in_the_order_they_are_shown_in(tmp_path, model):
    """ComfyUI drops what Matroska stores without a decoding time."""
    times = [512 * i for i in range(60)]
    source = write_clip(tmp_path / "in.mp4", times=times)
    for b_frames in (True, False):
        result = tmp_path / "out.mkv"
        upscale_video(model, source, result, TWICE, b_frames=b_frames)
        with av.open(str(result)) as container:
            packets = [each for each in container.demux(video=0) if each.size]
        reordered = any(packet.dts is None for packet in packets)
        assert reordered == b_frames
        assert len(contents(result).times) == len(times)


def test_the_command_names_no_option_that_a_node_lacks(
    no_gpu, clip, weights, capsys, tmp_path
):
    arguments = ["upscale", clip, "-m", weights, "-o", tmp_path / "out.mp4"]
    assert spanpp(*arguments, "--codec", HERE[0]) == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "--" not in line


@pytest.mark.gpu
def test_the_encoders_of_this_gpu_write_what_decodes(tmp_path, model):
    source = write_clip(tmp_path / "in.mp4", size=(144, 192), pixel_format="yuv420p")
    names = [name for name in codecs_here() if CODECS[name].needs]
    assert names, f"none of {OF_GPUS} opens on {torch.cuda.get_device_name()}"
    for name in names:
        result = tmp_path / f"{name}.mp4"
        upscale_video(model, source, result, TWICE, codec=name, segment=4)
        found = contents(result)
        assert found.times == contents(source).times, name
        assert found.video["size"] == (288, 384), name
