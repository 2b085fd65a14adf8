"""Streams that are copied beside the picture."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import pytest
from clips import write_clip

from spanpp_core.video import remux
from spanpp_core.video.source import probe


@pytest.mark.parametrize("end", [None, Fraction(3)])
def test_a_packet_without_a_time_is_in_no_part_of_a_video(tmp_path, end):
    clip = probe(write_clip(tmp_path / "in.mp4"))
    stream, copy = SimpleNamespace(index=1), object()
    times = [(None, None), (500, 480), (None, 1500), (2000, None)]
    packets = [
        SimpleNamespace(
            size=9, pts=pts, dts=dts, time_base=Fraction(1, 1000), stream=stream
        )
        for pts, dts in times
    ]
    source = SimpleNamespace(streams={1: stream}, demux=lambda *_: packets)
    part = replace(clip, start=Fraction(1), end=end)
    found = list(remux._copied(source, {1: copy}, part))
    assert [packet.pts for packet in found] == [500, 1000]
    assert {packet.stream for packet in found} == {copy}
