"""Memory over time while videos are upscaled, and whether all but their size is kept.

Clips are made: a pan over the bundled photo in uneven steps of time, and a tone. Each is
upscaled to twice its size by the command, in a process whose resident memory is sampled;
then once more by one that is killed half-way, and by another that goes on from there.
Printed for each clip are the peak of each third of the run, frames per second, and whether
frame times and sound are those of the source and the resumed file that of the first run.

Run: python benchmarks/video.py [--clips 320x180:60 1280x720:10 --rate 24]
[--codec libx264 --precision auto] [--plot video.png], for a plot with matplotlib installed.
"""

from __future__ import annotations

import argparse
import importlib
import math
import signal
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from spanpp_core import bundled_photo
from spanpp_core.video.upscaling import SEGMENT

SAMPLE_RATE = 48000


def make_clip(path: Path, width: int, height: int, seconds: int, rate: int) -> None:
    """Writes a pan over the photo, whose frames come up to 20 ms late, and a tone."""
    with Image.open(bundled_photo()) as photo:
        pixels = np.asarray(photo.convert("RGB").resize((2 * width, 2 * height)))
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        tone = container.add_stream("aac", rate=SAMPLE_RATE)
        for i in range(seconds * rate):
            angle = i / rate / 2
            top = round(height / 2 * (1 + math.sin(angle)))
            left = round(width / 2 * (1 + math.cos(angle)))
            cut = pixels[top : top + height, left : left + width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(cut), "rgb24")
            frame.pts, frame.time_base = (
                i * 1000 // rate + i * i % 21,
                Fraction(1, 1000),
            )
            container.mux(video.encode(frame))
        for start in range(0, seconds * SAMPLE_RATE, 1024):
            wave = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)
            sample = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
            sample.sample_rate, sample.pts = SAMPLE_RATE, start
            container.mux(tone.encode(sample))
        container.mux(video.encode(None))
        container.mux(tone.encode(None))


def contents(path: Path) -> tuple[list[Fraction], list[tuple[Fraction, bytes]]]:
    """Returns when frames are shown in seconds, and the sound with its times."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
    with av.open(str(path)) as container:
        packets = [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(container.streams.audio[0])
            if packet.size
        ]
    return times, packets


def started(source: Path, result: Path, options: list[str]) -> subprocess.Popen[bytes]:
    """Starts the command on a clip."""
    code = "from spanpp_core.command import main; main()"
    arguments = ["upscale", source, "-o", result, "--scale", "2", *options]
    return subprocess.Popen([sys.executable, "-c", code, *arguments])


def resident(process: int) -> float:
    """MiB of a process in memory now; 0 when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(lines[0][1]) / 1024 if lines else 0.0


def watched(process: subprocess.Popen[bytes]) -> tuple[list[float], list[float]]:
    """Samples the memory of a process until it ends: seconds, and MiB."""
    times: list[float] = []
    sizes: list[float] = []
    began = time.monotonic()
    while process.poll() is None:
        times.append(time.monotonic() - began)
        sizes.append(resident(process.pid))
        time.sleep(0.2)
    if process.returncode:
        sys.exit(process.returncode)
    return times, sizes


def killed_half_way(process: subprocess.Popen[bytes], result: Path, frames: int) -> int:
    """Kills a run that has half of its segments; returns how many it has."""
    folder = result.with_name(f".{result.name}.spanpp")
    half = max(1, frames // SEGMENT // 2)
    while len(kept := list(folder.glob("*.segment"))) < half:
        if process.poll() is not None:
            sys.exit("the run ended before it could be killed")
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(kept)


def measure(clip: str, rate: int, options: list[str], folder: Path):
    """Makes a clip, upscales it twice, and prints what was seen; returns the memory."""
    size, _, seconds = clip.partition(":")
    width, height = map(int, size.split("x"))
    source = folder / f"{size}.mp4"
    whole, resumed = folder / f"{size}-whole.mp4", folder / f"{size}-resumed.mp4"
    make_clip(source, width, height, int(seconds), rate)
    times, sizes = watched(started(source, whole, options))
    before, after = contents(source), contents(whole)
    third = -(-len(sizes) // 3)
    peaks = [max(sizes[i : i + third]) for i in range(0, len(sizes), third)]
    count = len(after[0])
    print(f"{clip}: {count} frames in {times[-1]:.0f} s, {count / times[-1]:.2f} fps")
    print("  peak of each third, MiB:", *(f"{peak:.0f}" for peak in peaks))
    print("  frames and their times equal:", before[0] == after[0])
    print("  sound packets and their times equal:", before[1] == after[1])
    if count <= SEGMENT:
        print("  not killed: all of it is one segment", flush=True)
        return times, sizes
    kept = killed_half_way(started(source, resumed, options), resumed, count)
    watched(started(source, resumed, options))
    same = whole.read_bytes() == resumed.read_bytes()
    print(f"  killed with {kept} finished segments, resumed, same bytes:", same)
    sys.stdout.flush()
    return times, sizes


def plot(path: Path, curves: dict[str, tuple[list[float], list[float]]]) -> None:
    """Draws memory over the share of the run; needs matplotlib."""
    try:
        plt = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        print("matplotlib is not installed, no plot")
        return
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for clip, (times, sizes) in curves.items():
        share = [100 * each / times[-1] for each in times]
        size, _, seconds = clip.partition(":")
        axes.plot(share, sizes, label=f"{size} to x2, {seconds} s in {times[-1]:.0f} s")
    axes.set(
        xlabel="% of the run", ylabel="MiB in memory", xlim=(0, 100), ylim=(0, None)
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measures each clip, and draws the plot if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", nargs="+", default=["320x180:60", "1280x720:10"])
    parser.add_argument("--rate", type=int, default=24, help="frames per second")
    parser.add_argument("--codec", default="libx264")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--plot", type=Path, help="picture to write")
    given = parser.parse_args()
    options = ["--codec", given.codec, "--precision", given.precision]
    with tempfile.TemporaryDirectory() as folder:
        curves = {
            clip: measure(clip, given.rate, options, Path(folder))
            for clip in given.clips
        }
    if given.plot is not None:
        plot(given.plot, curves)


if __name__ == "__main__":
    main()
