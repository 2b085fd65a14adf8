"""One SpanPP for all scales against one SPAN for each, trained on the same budget.

Each network gets the same number of steps, patches of the same size drawn from the same
seed, and the schedule of `spanpp train`: L1, Muon and Adam, warm-up, straight decay, clipping. So
SpanPP spends on each scale a quarter of the steps that a SPAN spends on its only one.
SPAN is spandrel's, without its normalisation, trained in weight space as SpanPP is;
SpanPP starts from alpha = 1/3.

Run: python benchmarks/research/budget.py PHOTOS TEST [--steps 600] [--scales 2 3 4]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import mean

import rivals
import torch
import torch.nn.functional as F
from stability import photos_of
from torch import Tensor, nn

from spanpp_core.metrics import psnr_y
from spanpp_core.network.branches import STEADY_ALPHA, SpanPPBranches
from spanpp_core.training.muon import split
from spanpp_core.training.patches import Patches, smallest_side
from spanpp_core.training.photo_folder import whole
from spanpp_core.training.scale_draw import ScaleDraw
from spanpp_core.training.schedule import Schedule
from spanpp_core.training.validation import downscaled

SPANPP_SCALES = (1, 2, 3, 4)

Upscale = Callable[[Tensor, float], Tensor]


class OneScale(nn.Module):
    """A network of one scale that is called as SpanPP is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, _scale: float) -> Tensor:
        """Upscales by the only scale there is."""
        return self.network(x)


ENDS = {
    SpanPPBranches: ("conv0.", "upsampler."),
    OneScale: ("network.conv_1.", "network.upsampler."),
}
"""What the names of the first and last layers begin with."""


def train(network: nn.Module, patches: Patches, schedule: Schedule) -> None:
    """Trains a network as `spanpp train` would, but for the averaging of weights."""
    ends = ENDS[type(network)]
    optimizers = schedule.optimizers(*split(network, ends))
    highest = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    for step in range(schedule.steps):
        batch = patches[step]
        low, high = batch.unit(torch.device("cpu"))
        F.l1_loss(network(low, batch.scale), high).backward()
        nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
        for optimizer, rate in zip(optimizers, highest):
            optimizer.param_groups[0]["lr"] = rate * schedule.share(step)
            optimizer.step()
            optimizer.zero_grad()


def score(upscale: Upscale, photos: Sequence[Tensor], scale: int) -> float:
    """Returns the mean PSNR-Y in dB, a border of ``scale`` pixels left out."""
    scores: list[float] = []
    for original in photos:
        low, full = downscaled(original, Fraction(scale))
        with torch.no_grad():
            made = upscale(low, scale).clamp(0, 1)
        scores.append(psnr_y(made, full, scale))
    return mean(scores)


def bicubic(low: Tensor, scale: float) -> Tensor:
    """What costs no training."""
    return F.interpolate(low, scale_factor=scale, mode="bicubic")


def main() -> None:
    """Prints PSNR-Y per scale for both, and the seconds each training took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder to train on")
    parser.add_argument("test", type=Path, help="folder to measure on")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=24, help="low-resolution pixels")
    parser.add_argument("--channels", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    test = whole(given.test)
    schedule = Schedule(given.steps, given.rate)
    every = ScaleDraw.whole(SPANPP_SCALES)
    with tempfile.TemporaryDirectory() as folder:
        smallest = smallest_side(given.patch, every)
        photos = photos_of(given.photos, Path(folder, "photos.bin"), smallest)

        def spend(network: nn.Module, draw: ScaleDraw, name: str) -> None:
            patches = Patches(photos, draw, given.patch, given.batch, given.seed)
            start = time.perf_counter()
            train(network, patches, schedule)
            seconds = time.perf_counter() - start
            print(f"{name}: {given.steps} steps, {seconds:.0f} s", flush=True)

        torch.manual_seed(given.seed)
        one = rivals.spanpp(given.channels, alpha=STEADY_ALPHA)
        spend(one, every, "SpanPP, x1 to x4")
        ours = {scale: score(one, test, scale) for scale in given.scales}
        theirs: dict[int, float] = {}
        for scale in given.scales:
            torch.manual_seed(given.seed)
            span = OneScale(rivals.span(scale, given.channels, norm=False))
            spend(span, ScaleDraw.whole([scale]), f"SPAN, x{scale}")
            theirs[scale] = score(span, test, scale)
    print("\n| PSNR-Y | " + " | ".join(f"x{scale}" for scale in given.scales) + " |")
    print("|---|" + "---|" * len(given.scales))
    plain = {scale: score(bicubic, test, scale) for scale in given.scales}
    for name, found in (
        ("bicubic", plain),
        ("one SPAN a scale", theirs),
        ("one SpanPP", ours),
    ):
        print(f"| {name} | {' | '.join(f'{v:.2f}' for v in found.values())} |")


if __name__ == "__main__":
    main()
