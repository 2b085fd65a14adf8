"""Peak memory of one upscale above its input and output buffers, and the estimate.

Each case runs in a process of its own, on a synthetic image; the peak is that of the
resident set, less what was resident before with both buffers already touched.

Run: python benchmarks/memory.py [--width 6000 --height 4000 --scale 2 ...]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

import spanpp_core
from spanpp_core.engine.memory import bytes_per_pixel

CASES = (
    ["--width", "6000", "--height", "4000", "--scale", "2"],
    ["--width", "700", "--height", "500", "--scale", "2", "--tile", "1000"],
    ["--width", "700", "--height", "500", "--scale", "4", "--tile", "1000"],
    ["--width", "700", "--height", "500", "--scale", "8", "--tile", "1000"],
    ["--width", "700", "--height", "500", "--scale", "2.5", "--tile", "1000"],
    ["--width", "700", "--height", "500", "--scale", "2", "--tile", "1000", "--bf16"],
)


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def measure(given: argparse.Namespace) -> None:
    """Prints one line: the case, its peak, the estimate where it is one tile."""
    dtype = torch.bfloat16 if given.bf16 else torch.float32
    model = spanpp_core.load(spanpp_core.bundled_model(), dtype=dtype)
    view = model.at_scale(given.scale)
    warm = torch.rand(1, 3, 32, 32)
    spanpp_core.upscale(view, warm)  # the kernels, and what the libraries load
    image = torch.rand(1, 3, given.height, given.width)
    size = (round(given.height * given.scale), round(given.width * given.scale))
    out = torch.zeros(1, 3, *size).fill_(0.5)
    before, start = resident(), time.perf_counter()
    spanpp_core.upscale(view, image, given.tile, out=out)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    above = (peak - before) / 2**20
    line = (
        f"{given.width}x{given.height} x{given.scale:g} {str(dtype)[6:]}:"
        f" {above:.0f} MiB above the buffers, {seconds:.1f} s"
    )
    if given.tile and given.tile >= max(given.width, given.height):
        per_pixel = bytes_per_pixel(model.model.hyper, given.scale, dtype)
        estimate = per_pixel * given.width * given.height / 2**20
        line += f", estimate {estimate:.0f} MiB (ratio {above / estimate:.2f})"
    print(line, flush=True)


def main() -> None:
    """Measures the case given, or every case of `CASES` in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int)
    parser.add_argument("--height", type=int, default=1000)
    parser.add_argument("--scale", type=float, default=2)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--bf16", action="store_true")
    given = parser.parse_args()
    if given.width is not None:
        measure(given)
        return
    for case in CASES:
        subprocess.run([sys.executable, __file__, *case], check=True)


if __name__ == "__main__":
    main()
