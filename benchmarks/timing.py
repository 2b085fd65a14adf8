"""Seconds, fairly: upscalers in turn, and what each of them has to compute."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import quantiles

import torch
from torch import Tensor
from upscalers import Run

from spanpp_core.network.model import SpanPP

Times = dict[str, list[float]]


@dataclass(frozen=True)
class Spread:
    """A median and its quartiles."""

    low: float
    middle: float
    high: float

    @staticmethod
    def of(values: list[float]) -> Spread:
        """Of at least two values."""
        low, middle, high = quantiles(values, n=4, method="inclusive")
        return Spread(low, middle, high)


def seconds(run: Run, images: Tensor) -> float:
    """Times one run, until the device has finished it."""
    start = time.perf_counter()
    run(images)
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    elif images.device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter() - start


def interleaved(runs: Mapping[str, Run], images: Tensor, rounds: int) -> Times:
    """Returns the seconds that each run took in each round."""
    times: Times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run, images))
    return times


def flop_per_pixel(network: SpanPP) -> tuple[int, int]:
    """Returns what the body, and the upsampler, compute per input pixel.

    Twice the multiply-adds of the convolutions, which run once at every input pixel.
    """
    hyper = network.hyper
    generator = set(network.upsampler.parameters())
    body = sum(
        weight.numel()
        for weight in network.parameters()
        if weight.ndim == 4 and weight not in generator
    )
    taps = hyper.channels * hyper.kernel_size**2
    return 2 * body, 2 * 3 * int(network.scale) ** 2 * taps
