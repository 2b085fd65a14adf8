"""A video file as it is read: what is said of it, and what is left of a decoder."""

from __future__ import annotations

import pytest
from clips import write_clip

from spanpp_core import VideoError
from spanpp_core.video.source import opened, picture_stream, probe


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
