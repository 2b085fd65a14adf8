"""Peak memory of one upscale above its input and output buffers, against the estimate.

Each case runs in a process of its own, on a synthetic image, one tile at a time; the
peak is that of the resident set, less what was resident before with both buffers
already touched. The last line says how far off the estimate is at most. Linux only.

Run: python benchmarks/memory.py [--width 6000 --height 4000 --scale 2 ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

import spanpp_core
from spanpp_core import BACKENDS
from spanpp_core.engine.tiled import auto_tile, working_memory

WHOLE = ["--tile", "1000"]
CASES = (
    *(
        ["--width", width, "--height", height, *WHOLE, *dtype]
        for width, height in (("300", "200"), ("400", "300"), ("700", "500"))
        for dtype in ([], ["--bf16"])
    ),
    ["--width", "768", "--height", "512", "--tile", "256"],
    ["--width", "768", "--height", "512", "--tile", "256", "--bf16"],
    *(
        ["--width", "500", "--height", "400", "--scale", scale, *WHOLE, *dtype]
        for scale in ("1", "2.5", "4", "8")
        for dtype in ([], ["--bf16"])
    ),
    *(
        ["--width", "700", "--height", "500", *WHOLE, "--backend", "openvino", *dtype]
        for dtype in ([], ["--bf16"])
        if importlib.util.find_spec("openvino")
    ),
    ["--width", "6000", "--height", "4000", "--scale", "2", "--bf16"],
)


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def measure(given: argparse.Namespace) -> None:
    """Prints one line: the case, its peak, the estimate; their ratio comes last."""
    dtype = torch.bfloat16 if given.bf16 else torch.float32
    model = spanpp_core.load(spanpp_core.bundled_model(), dtype=dtype)
    view = model.at_scale(given.scale).with_backend(given.backend)
    spanpp_core.upscale(view, torch.rand(1, 3, 32, 32))  # kernels, libraries
    image = torch.rand(1, 3, given.height, given.width)
    size = (round(given.height * given.scale), round(given.width * given.scale))
    out = torch.zeros(1, 3, *size).fill_(0.5)
    tile = given.tile or auto_tile(view)
    estimate = working_memory(view, given.height, given.width, tile=tile)
    before, start = resident(), time.perf_counter()
    spanpp_core.upscale(view, image, tile=tile, out=out, memory=estimate)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    above = peak - before
    print(
        f"{given.width}x{given.height} x{given.scale:g} {str(dtype)[6:]}, {given.backend},"
        " tiles of"
        f" {min(tile, max(given.width, given.height))}: {seconds:.1f} s,"
        f" {above / 2**20:.0f} MiB above the buffers, estimate {estimate / 2**20:.0f}"
        f" MiB, ratio {above / estimate:.2f}"
    )


def main() -> None:
    """Measures the case given, or every case of `CASES` in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int)
    parser.add_argument("--height", type=int, default=1000)
    parser.add_argument("--scale", type=float, default=2)
    parser.add_argument("--tile", type=int, help="chosen by the engine if absent")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--backend", choices=BACKENDS, default="torch")
    given = parser.parse_args()
    if given.width is not None:
        measure(given)
        return
    ratios: list[float] = []
    for case in CASES:
        command = [sys.executable, __file__, *case]
        line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        print(line.stdout, end="", flush=True)
        ratios.append(float(line.stdout.split()[-1]))
    furthest = max(abs(ratio - 1) for ratio in ratios)
    print(f"all {len(ratios)} within {furthest:.0%} of the estimate")


if __name__ == "__main__":
    main()
