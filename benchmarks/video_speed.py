"""Frames per second of a video: decoding, network and encoding in turn, and side by side.

A clip is made, a pan over the bundled photo, and upscaled to twice its size. Each round
runs both ways, so that a machine whose speed drifts slows both alike: one thread that does
all to a frame before it takes the next, and `upscale_video`. Printed are frames per second,
the ratio with its quartiles, and what each stage takes alone: the slowest of them is the
limit of the second way, their sum the first.

Run: python benchmarks/video_speed.py [--size 1280x720 --seconds 10] [--device cuda]
[--codec h264_nvenc] [--rounds 5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from timing import Spread
from video import make_clip

import spanpp_core
from spanpp_core import Size, SpanPPDescriptor, prepare
from spanpp_core.video import codecs_here, upscale_video
from spanpp_core.video.decoder import decoded, pixels
from spanpp_core.video.encoder import Encoder, Format
from spanpp_core.video.source import probe

TWICE = Size(factor=2)

KEPT = 8
"""Upscaled frames that the encoder is given again and again."""


class Stages:
    """The stages of one clip, by themselves and in turn."""

    def __init__(self, model: SpanPPDescriptor, source: Path, codec: str) -> None:
        self._clip = probe(source)
        size = (self._clip.height, self._clip.width)
        work = self._clip.frames * size[0] * size[1]
        # as for the whole video
        backend = model.backends.usable(model.model, model.backend, work)
        self._run = prepare(model.with_backend(backend), size, TWICE)
        to = source.with_name("out.mp4")
        self._form = Format.of(self._clip, *self._run.output_size, codec, None, to)

    def decode(self) -> int:
        """Decodes and converts every frame; returns how many there are."""
        count = 0
        for _, _, frame in decoded(self._clip):
            pixels(self._clip, frame, self._run.device)
            count += 1
        return count

    def network(self, frames: int) -> None:
        """Upscales the first frame so often."""
        _, _, frame = next(decoded(self._clip))
        image = pixels(self._clip, frame, self._run.device)
        for _ in range(frames):
            self._run.run_in_range(image)

    def encode(self, frames: int) -> None:
        """Converts and encodes so many frames, of the first few."""
        encoder = Encoder(self._form, self._clip)
        made = [
            self._run.run_in_range(pixels(self._clip, frame, self._run.device))
            for (_, _, frame), _ in zip(decoded(self._clip), range(KEPT))
        ]
        began = time.perf_counter()
        for i in range(frames):
            list(encoder.encode(i, 1, self._form.planes(made[i % len(made)])))
        list(encoder.finish())
        self.encoding = time.perf_counter() - began

    def in_turn(self) -> None:
        """Does all of it, one after the other."""
        encoder = Encoder(self._form, self._clip)
        for pts, duration, frame in decoded(self._clip):
            image = pixels(self._clip, frame, self._run.device)
            planes = self._form.planes(self._run.run_in_range(image))
            list(encoder.encode(pts, duration, planes))
        list(encoder.finish())


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Times some work until the device has finished it."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def compare(model: SpanPPDescriptor, source: Path, codec: str, rounds: int) -> None:
    """Prints both ways and what each stage takes."""
    stages, device = Stages(model, source, codec), model.device
    result = source.with_name("whole.mp4")

    def side_by_side() -> None:
        upscale_video(model, source, result, TWICE, codec=codec)

    ways = {"in turn": stages.in_turn, "side by side": side_by_side}
    count = stages.decode()
    side_by_side()  # compilers and caches
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            taken[name].append(seconds(work, device))
    ratio = Spread.of([a / b for a, b in zip(*taken.values())])
    clip = probe(source)
    print(
        f"\nVideo, {clip.width}x{clip.height} to x2, {count} frames, {codec}, {device}"
    )
    for name, times in taken.items():
        print(f"{name:14}{count / median(times):8.2f} frames per second")
    print(f"{ratio.middle:.2f} times as fast ({ratio.low:.2f} to {ratio.high:.2f})")
    alone = {
        "decoding": seconds(stages.decode, device),
        "network": seconds(lambda: stages.network(count), device),
    }
    stages.encode(count)
    alone["encoding"] = stages.encoding
    for name, each in alone.items():
        print(f"{name:10} alone {1000 * each / count:8.1f} ms per frame")


def compare_on(
    model: SpanPPDescriptor, width: int, height: int, duration: int, rounds: int
) -> None:
    """Does it for a clip made on the spot, by the first codec that runs here on a GPU."""
    hardware = [name for name in codecs_here() if name.startswith("h264_")]
    codec = hardware[0] if hardware and model.device.type == "cuda" else "libx264"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "clip.mp4")
        make_clip(source, width, height, duration, 24)
        compare(model, source, codec, rounds)


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="1280x720", help="WIDTHxHEIGHT of the clip")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=int, default=24, help="frames per second")
    parser.add_argument("--codec", default="libx264")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5, help="at least 2")
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error("--rounds: a spread takes at least 2")
    torch.set_num_threads(given.threads)
    model = spanpp_core.load(spanpp_core.bundled_model(), device=given.device)
    model = model.with_dtype(spanpp_core.fastest_dtype(given.device))
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "clip.mp4")
        make_clip(source, width, height, given.seconds, given.rate)
        compare(model, source, given.codec, given.rounds)


if __name__ == "__main__":
    main()
