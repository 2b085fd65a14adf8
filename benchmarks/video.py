"""Memory over time while a video is upscaled, and whether all but its size is kept.

A clip of moving noise with a tone is made, upscaled to twice its size in a process of its
own, and the resident memory of that process is sampled. Printed are one line an interval,
the peak of each third of the run, frames a second, and the comparison of frame times and
sound packets.

Run: python benchmarks/video.py [--seconds 60 --size 320x180 --rate 25 --codec libx264]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def make_clip(path: Path, seconds: int, width: int, height: int, rate: int) -> None:
    """Writes noise drifting over a gradient, and a tone."""
    noise = np.random.default_rng(0).integers(0, 64, (height, width, 3))
    gradient = np.linspace(0, 191, width)[None, :, None]
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        tone = container.add_stream("aac", rate=48000)
        for i in range(seconds * rate):
            pixels = (np.roll(noise, 2 * i, axis=1) + gradient).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, rate)
            container.mux(video.encode(frame))
        for start in range(0, seconds * 48000, 1024):
            wave = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)
            sample = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
            sample.sample_rate, sample.pts = 48000, start
            container.mux(tone.encode(sample))
        container.mux(video.encode(None))
        container.mux(tone.encode(None))


def contents(path: Path) -> tuple[list[float], list[bytes]]:
    """Returns the times of the frames in seconds, and the packets of the sound."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [float(f.pts * stream.time_base) for f in container.decode(stream)]
    with av.open(str(path)) as container:
        packets = [bytes(p) for p in container.demux(container.streams.audio[0])]
    return times, packets


def resident(process: int) -> float:
    """MiB of a process in memory now; 0 when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(lines[0][1]) / 1024 if lines else 0.0


def watch(process: subprocess.Popen[bytes], interval: float) -> list[float]:
    """Samples the memory of a process until it ends, and prints it."""
    samples: list[float] = []
    began = printed = time.monotonic()
    while process.poll() is None:
        samples.append(resident(process.pid))
        now = time.monotonic()
        if now - printed >= interval:
            print(f"{now - began:6.0f} s {samples[-1]:7.0f} MiB", flush=True)
            printed = now
        time.sleep(0.2)
    return samples


def main() -> None:
    """Makes the clip, upscales it, and prints what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--size", default="320x180", help="WIDTHxHEIGHT in pixels")
    parser.add_argument("--rate", type=int, default=25, help="frames a second")
    parser.add_argument("--codec", default="libx264")
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "in.mp4"), Path(folder, "out.mp4")
        make_clip(source, given.seconds, width, height, given.rate)
        code = "from spanpp_core.command import main; main()"
        options = ["--codec", given.codec, "--precision", given.precision]
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", code, "upscale", source, "-o", result, *options]
        )
        samples = watch(process, interval=10)
        seconds = time.monotonic() - began
        if process.returncode:
            sys.exit(process.returncode)
        before, after = contents(source), contents(result)
    third = -(-len(samples) // 3)
    peaks = [max(samples[i : i + third]) for i in range(0, len(samples), third)]
    print("peak of each third, MiB:", *(f"{peak:.0f}" for peak in peaks))
    print(
        f"{len(after[0])} frames in {seconds:.0f} s, {len(after[0]) / seconds:.2f} fps"
    )
    print("frame times equal:", before[0] == after[0])
    print("sound packets equal:", before[1] == after[1])


if __name__ == "__main__":
    main()
