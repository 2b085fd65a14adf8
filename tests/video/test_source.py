"""A video file as it is read: the colours that are stored, whatever the format."""

from __future__ import annotations

import pytest
import torch
from clips import picture, write_clip

from spanpp_core import VideoError
from spanpp_core.video.source import decoded, opened, picture_stream, pixels, probe


@pytest.mark.parametrize("pixel_format", ["gbrap10le", "gbrap16le", "yuva444p"])
def test_alpha_is_left_out_and_the_colours_are_as_stored(tmp_path, pixel_format):
    """FFmpeg leaves some values of RGB unset where it drops alpha of more than 8 bits."""
    path = write_clip(tmp_path / "in.mkv", codec="ffv1", pixel_format=pixel_format)
    clip = probe(path)
    for index, (_, _, frame) in enumerate(decoded(clip)):
        made = pixels(clip, frame, torch.device("cpu"))[0]
        stored = picture(index, clip.height, clip.width).to_ndarray(format="rgb24")
        expected = torch.from_numpy(stored).movedim(-1, 0) / 255
        torch.testing.assert_close(made, expected, rtol=0, atol=0.02)


def test_floating_point_is_read_as_16_bits(tmp_path):
    path = tmp_path / "in.mov"
    write_clip(path, codec="exr", pixel_format="gbrpf32le", sound=None)
    clip = probe(path)
    assert (clip.pixel_format, clip.encoding.bits) == ("gbrp16le", 16)
    _, _, frame = next(decoded(clip))
    top = pixels(clip, frame, torch.device("cpu")).amax((0, 2, 3))
    assert top[0] > 0.9
    assert abs(float(top[2]) - 128 / 255) < 0.01


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize(
    ("start", "end", "frames"), [(0, None, 10), (100.2, None, 5), (0, 100.2, 5)]
)
def test_a_clip_that_starts_late_counts_its_frames_alone(
    tmp_path, suffix, start, end, frames
):
    """Matroska's duration is from zero on."""
    late = [12800 * 100 + 512 * i for i in range(10)]
    path = write_clip(tmp_path / f"in{suffix}", times=late, sound=None)
    assert probe(path, start, end).frames == frames


@pytest.mark.parametrize(
    ("start", "end"),
    [("nan", None), ("inf", None), (-1, None), (0, "inf"), (0, "nan"), (2, 1)],
)
def test_a_part_that_is_none_is_one_line(tmp_path, start, end):
    path = write_clip(tmp_path / "in.mp4")
    with pytest.raises(
        VideoError, match=r"in\.mp4: cannot be cut from .* s to"
    ) as said:
        probe(path, float(start), end if end is None else float(end))
    assert "\n" not in str(said.value)


def test_a_video_that_is_not_read_to_the_end_leaves_nothing_in_the_decoder(tmp_path):
    """Its threads would log into a decoder that PyAV frees, which never ends."""
    path = write_clip(tmp_path / "in.mkv", codec="libx264")
    with opened(path) as container:
        stream = picture_stream(container, path)
        next(container.decode(stream))
    assert stream.codec_context.decode(None) == []
