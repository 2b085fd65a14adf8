"""What a fractional scale costs, against the whole scale above it.

Native scales and the way by downscaling, in one process and in turn: seconds as ratios to
the next whole scale, and the seconds to make the kernels at first use. With ``--memory``:
the peak memory of x1.5 of a 24-megapixel photo both ways, each in a process of its own
(Linux only).

Run: python benchmarks/fractional_scales.py [--rounds 7] [--size 512] [--memory]
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import time
from functools import partial
from statistics import median

import torch
from timing import interleaved

import spanpp_core
from spanpp_core import FRACTIONAL, Fractional, Size, SpanPPDescriptor, upscale

SCALES = (4 / 3, 1.5, 2.5, 2.73, 3.7)
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
PHOTO = (4000, 6000)


def first_use(model: SpanPPDescriptor, scale: float) -> float:
    """Returns the seconds that the kernels of a scale take to make."""
    network = spanpp_core.load(model.model.state_dict()).at_scale(scale).model
    start = time.perf_counter()
    network(torch.rand(1, 3, 8, 8))
    return time.perf_counter() - start


def print_times(given: argparse.Namespace) -> None:
    """Prints a row for each scale: native and downscale against the next whole scale."""
    device, dtype = torch.device(given.device), DTYPES[given.precision]
    model = spanpp_core.load(given.model, device=device, dtype=dtype)
    model = model.with_backend(given.backend)
    images = torch.rand(1, 3, given.size, given.size, device=device)
    print(f"{given.size}x{given.size}, {given.precision} on {device}")
    print("| | native | downscale | first use |\n|---|---|---|---|")
    for scale in SCALES:
        whole = math.ceil(scale)
        ways: tuple[Fractional, ...] = ("native", "downscale")
        runs = {
            way: partial(
                upscale, model, size=Size(factor=scale), fractional=way, tile=given.size
            )
            for way in ways
        }
        runs["whole"] = partial(
            upscale, model, size=Size(factor=whole), tile=given.size
        )
        interleaved(runs, images, 1)
        times = interleaved(runs, images, given.rounds)
        ratio = {
            way: median(t / w for t, w in zip(times[way], times["whole"]))
            for way in ways
        }
        made = median(first_use(model, scale) for _ in range(3))
        print(
            f"| x{scale:.4g} / x{whole} | {ratio['native']:.2f} |"
            f" {ratio['downscale']:.2f} | {made:.2f} s |",
            flush=True,
        )


def print_peak(way: Fractional, model: str) -> None:
    """Prints the peak memory of x1.5 of a large photo, above what is there before."""
    loaded = spanpp_core.load(model, dtype=torch.bfloat16)
    size = Size(factor=1.5)
    upscale(loaded, torch.rand(1, 3, 32, 32), size=size, fractional=way)
    image = torch.rand(1, 3, *PHOTO)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    upscale(loaded, image, size=size, fractional=way)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"x1.5 of {PHOTO[1]}x{PHOTO[0]}, {way}: {peak / 2**10:.0f} MiB above the photo,"
        f" the result among them; {time.perf_counter() - start:.0f} s",
        flush=True,
    )


def main() -> None:
    """Prints the table, or the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(spanpp_core.bundled_model()))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", choices=DTYPES, default="bf16")
    parser.add_argument("--backend", choices=spanpp_core.BACKENDS, default="torch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", choices=FRACTIONAL, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        print_peak(given.peak, given.model)
    elif given.memory:
        for way in ("native", "downscale"):
            subprocess.run(
                [sys.executable, __file__, "--peak", way, "--model", given.model],
                check=True,
            )
    else:
        print_times(given)


if __name__ == "__main__":
    main()
