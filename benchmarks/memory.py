"""Peak memory of one upscale above its input and output buffers, against the estimate.

Each case runs in a process of its own, on a synthetic image, one tile at a time. On a CPU
the peak is that of the resident set, less what was resident before with both buffers
already touched; on a GPU it is what PyTorch allocated there, while both buffers are in
main memory. The last line says how far off the estimate is at most. For CPUs on Linux only.

Run: python benchmarks/memory.py [--device cuda] [--width 6000 --height 4000 --scale 2 ...]
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec

import psutil
import torch

import spanpp_core
from spanpp_core import BACKENDS
from spanpp_core.engine.tile_size import auto_tile, working_memory

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
WHOLE = ["--tile", "1000"]


def cases(device: torch.device) -> Iterator[list[str]]:
    """Yields the options of each case: on a GPU small tiles are not worth a look."""
    if device.type == "cuda":
        found = [
            "torch",
            "jiterator",
            *(name for name in ("triton", "cupy") if find_spec(name)),
        ]
        tiles = ["--width", "3000", "--height", "2000", "--tile", "1000"]
        for backend in found:
            for precision in DTYPES if backend == "torch" else ("fp16",):
                for scale in ("1", "2", "2.5", "4", "8"):
                    how = [
                        "--scale",
                        scale,
                        "--precision",
                        precision,
                        "--backend",
                        backend,
                    ]
                    yield [*tiles, *how]
        return
    for precision in ("fp32", "bf16"):
        how = ["--precision", precision]
        for width, height in (("300", "200"), ("400", "300"), ("700", "500")):
            yield ["--width", width, "--height", height, *WHOLE, *how]
        yield ["--width", "768", "--height", "512", "--tile", "256", *how]
        for scale in ("1", "2.5", "4", "8"):
            size = ["--width", "500", "--height", "400", "--scale", scale]
            yield [*size, *WHOLE, *how]
        if find_spec("openvino"):
            size = ["--width", "700", "--height", "500", "--backend", "openvino"]
            yield [*size, *WHOLE, *how]
    yield ["--width", "6000", "--height", "4000", "--scale", "2", "--precision", "bf16"]


def resident() -> int:
    """Bytes of this process in memory now."""
    return psutil.Process().memory_info().rss


def measure(given: argparse.Namespace) -> None:
    """Prints one line: the case, its peak, the estimate; their ratio comes last."""
    device = given.device
    model = spanpp_core.load(
        spanpp_core.bundled_model(), device=device, dtype=DTYPES[given.precision]
    )
    view = model.at_scale(given.scale).with_backend(given.backend)
    spanpp_core.upscale(view, torch.rand(1, 3, 32, 32))  # kernels, libraries
    image = torch.rand(1, 3, given.height, given.width)
    size = (round(given.height * given.scale), round(given.width * given.scale))
    out = torch.zeros(1, 3, *size).fill_(0.5)
    tile = given.tile or auto_tile(view)
    estimate = working_memory(view, given.height, given.width, tile=tile)
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if cuda else resident()
    start = time.perf_counter()
    spanpp_core.upscale(view, image, tile=tile, out=out, memory=estimate)
    seconds = time.perf_counter() - start
    if cuda:
        peak = torch.cuda.max_memory_allocated(device)
    else:
        resource = importlib.import_module("resource")  # which Windows lacks
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    above = peak - before
    print(
        f"{given.width}x{given.height} x{given.scale:g} {given.precision}, {given.backend},"
        f" tiles of {min(tile, max(given.width, given.height))}: {seconds:.1f} s,"
        f" {above / 2**20:.0f} MiB above the buffers, estimate {estimate / 2**20:.0f}"
        f" MiB, ratio {above / estimate:.2f}"
    )


def main() -> None:
    """Measures the case given, or all of them in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int)
    parser.add_argument("--height", type=int, default=1000)
    parser.add_argument("--scale", type=float, default=2)
    parser.add_argument("--tile", type=int, help="chosen by the engine if absent")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--backend", choices=BACKENDS, default="torch")
    given = parser.parse_args()
    if given.width is not None:
        measure(given)
        return
    ratios: list[float] = []
    for case in cases(given.device):
        command = [sys.executable, __file__, "--device", str(given.device), *case]
        line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        print(line.stdout, end="", flush=True)
        ratios.append(float(line.stdout.split()[-1]))
    furthest = max(abs(ratio - 1) for ratio in ratios)
    print(f"all {len(ratios)} within {furthest:.0%} of the estimate")


if __name__ == "__main__":
    main()
