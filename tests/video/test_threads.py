"""Frames are decoded, run and encoded side by side, and few of them wait."""

from __future__ import annotations

import threading
from collections import Counter

import torch
from clips import TWICE, write_clip

from spanpp_core.engine.prepared_run import Upscaling
from spanpp_core.video import decoder, upscale_video, upscaling
from spanpp_core.video.encoder import Encoder


def test_each_stage_has_a_thread_of_its_own(tmp_path, model, monkeypatch):
    """Two frames in the queue and one in each hand at most, however slow the network."""
    threads: dict[str, set[int]] = {}
    frames: Counter[str] = Counter()
    most = upscaling.QUEUED_FRAMES + 2

    def noted(stage: str, work):
        def run(*given, **named):
            threads.setdefault(stage, set()).add(threading.get_ident())
            frames[stage] += 1
            assert frames["decoded"] - frames["run"] <= most
            return work(*given, **named)

        return run

    monkeypatch.setattr(upscaling, "pixels", noted("decoded", upscaling.pixels))
    for owner, name, stage in (
        (Upscaling, "run_in_range", "run"),
        (Encoder, "encode", "encoded"),
    ):
        monkeypatch.setattr(owner, name, noted(stage, getattr(owner, name)))
    source = write_clip(tmp_path / "in.mp4")
    upscale_video(model, source, tmp_path / "out.mp4", TWICE)
    assert threads["run"] == {threading.get_ident()}
    every = [thread for each in threads.values() for thread in each]
    assert len(every) == len(set(every)) == 3
    assert frames["decoded"] == frames["run"] == frames["encoded"]


def test_samples_go_to_the_device_as_they_are_stored(tmp_path, model, monkeypatch):
    """Not as the floating point that they become there: four times the bytes."""
    seen: set[torch.dtype] = set()

    def to_rgb(planes, *given, **named):
        seen.update(plane.dtype for plane in planes)
        return converted(planes, *given, **named)

    converted = decoder.to_rgb
    monkeypatch.setattr(decoder, "to_rgb", to_rgb)
    for pixel_format, dtype in (("yuv420p", torch.uint8), ("yuv420p10le", torch.int16)):
        seen.clear()
        source = write_clip(tmp_path / "in.mkv", pixel_format=pixel_format)
        upscale_video(model, source, tmp_path / "out.mkv", TWICE)
        assert seen == {dtype}
