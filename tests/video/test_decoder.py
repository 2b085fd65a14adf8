"""Frames as they are read: the colours that are stored, whatever the format."""

from __future__ import annotations

import pytest
import torch
from clips import picture, write_clip

from spanpp_core.video.decoder import decoded, pixels
from spanpp_core.video.source import probe


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
