"""Seconds an image takes, as ratios to SPAN through spandrel, interleaved in one run.

The contestants: SpanPP here in float32 and bfloat16, plain and compiled; the original
network (through resselt); SPAN with 48 channels, the network people replace. Weights
are random for SPAN: its speed does not depend on them. A round runs each once, so that
a machine whose speed drifts slows all of them alike; the median of the rounds' ratios
is printed with its quartiles.

Run on an idle machine: python benchmarks/speed.py [--size 256] [--scale 2] [--device D]
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections.abc import Callable
from statistics import median, quantiles

import torch
from spandrel.architectures.SPAN import SPAN
from torch import Tensor

import spanpp_core

Run = Callable[[Tensor], Tensor]

BASE = "SPAN, spandrel"


def contestants(scale: int, device: torch.device, *, compiled: bool) -> dict[str, Run]:
    """Returns what is timed, by name."""
    span = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=48, upscale=scale)
    runs: dict[str, Run] = {BASE: span.eval().to(device)}
    original = original_network(scale, device)
    if original is not None:
        runs["SpanPP, original"] = original
    for name, dtype in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        model = spanpp_core.load(
            spanpp_core.bundled_model(), device=device, dtype=dtype
        ).at_scale(scale)
        runs[f"SpanPP, {name}"] = model.model
        if compiled:
            runs[f"SpanPP, {name}, compiled"] = torch.compile(model.model)
    return runs


def original_network(scale: int, device: torch.device) -> Run | None:
    """Returns the public implementation at a scale, or None if it is not installed."""
    try:
        from resselt.archs.spanpp.arch import SpanPP  # noqa: PLC0415 it is optional
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SpanPP(eval_base_scale=scale).eval().to(device)


def seconds(run: Run, image: Tensor) -> float:
    """Times one image, until the device has finished it."""
    start = time.perf_counter()
    run(image)
    if image.device.type == "cuda":
        torch.cuda.synchronize(image.device)
    return time.perf_counter() - start


def main() -> None:
    """Prints one line a contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="side in pixels")
    parser.add_argument("--scale", type=int, default=2, choices=(1, 2, 3, 4))
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compiled", action="store_true", help="torch.compile as well")
    given = parser.parse_args()
    logging.getLogger("torch").setLevel(logging.ERROR)
    device = torch.device(given.device)
    image = torch.rand(1, 3, given.size, given.size, device=device)
    runs = contestants(given.scale, device, compiled=given.compiled)
    times: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for run in runs.values():
            for _ in range(3):
                run(image)
        for _ in range(given.rounds):
            for name, run in runs.items():
                times[name].append(seconds(run, image))
    print(
        f"{given.size}x{given.size} x{given.scale} on {device},"
        f" {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for name, taken in times.items():
        ratios = [ours / base for ours, base in zip(taken, times[BASE])]
        low, _, high = quantiles(ratios, n=4)
        print(
            f"{name:28} {median(ratios):.2f} ({low:.2f} to {high:.2f})"
            f"  {1000 * median(taken):7.1f} ms"
        )


if __name__ == "__main__":
    main()
