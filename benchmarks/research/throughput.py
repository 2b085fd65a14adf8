"""Low-resolution pixels a second in training, and the share of the machine's peak.

One step is forward, L1, backward, clipping, Muon and Adam, at one scale. The network is
trained with three branches behind each convolution or plain, in float32 or bfloat16. The
peak is that of a matrix product in the same dtype, measured in turn with the steps; what is
held against it are the multiply-adds of the body and the upsampler alone, once forward and
twice backward. All in processor seconds of all threads on a CPU, which other programs do
not stretch, and in seconds on a GPU.

Run: python benchmarks/research/throughput.py [--batch 16] [--patch 48] [--scale 2]
[--colours 6] [--device cuda] [--threads N] [--rounds 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spanpp_core.network.hyperparameters import Hyperparameters
from spanpp_core.network.trainable import TrainableSpanPP
from spanpp_core.training.colours import colour_shift, positions
from spanpp_core.training.initial_network import new_network
from spanpp_core.training.muon import split
from spanpp_core.training.schedule import Schedule

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

EDGE = 2048
"""Of the square matrices whose product is the peak."""


def clock(device: torch.device) -> float:
    """Returns seconds, when the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def peak(dtype: torch.dtype, device: torch.device) -> float:
    """Returns the FLOP a second of a matrix product."""
    a = torch.randn(EDGE, EDGE, device=device).to(dtype)
    start = clock(device)
    a @ a
    return 2 * EDGE**3 / (clock(device) - start)


def flop_of(network: TrainableSpanPP, scale: int) -> int:
    """Returns the FLOP of the pixels of one input pixel, forward."""
    hyper = network.hyper
    convs = 18 * 9 * hyper.channels**2 + 9 * hyper.in_channels * hyper.channels
    join, taps = 4 * hyper.channels**2, hyper.channels * hyper.kernel_size**2
    return 2 * (convs + 9 * hyper.channels**2 + join + 3 * scale**2 * taps)


def step_of(
    network: TrainableSpanPP,
    dtype: torch.dtype,
    low: Tensor,
    high: Tensor,
    colours: float,
) -> Callable[[], list[float]]:
    """Returns a step, which returns the seconds of forward, backward and update."""
    optimizers = Schedule(1).optimizers(*split(network))
    scale, device = high.shape[-1] // low.shape[-1], low.device
    turn = torch.tensor(0, device=device)

    def step() -> list[float]:
        marks = [clock(device)]
        half = dtype == torch.bfloat16
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = F.l1_loss(network(low, scale), high)
        if colours:
            at = positions(turn.add_(1))
            loss = loss + colours * colour_shift(network, scale, at)
        marks.append(clock(device))
        loss.backward()
        marks.append(clock(device))
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        marks.append(clock(device))
        return [after - before for before, after in pairwise(marks)]

    return step


def main() -> None:
    """Prints a table, a line for each form and dtype."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=48, help="low-resolution pixels")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--channels", type=int, default=48)
    parser.add_argument("--colours", type=float, default=0, help="plain networks only")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    side = given.patch * given.scale
    low = torch.rand(given.batch, 3, given.patch, given.patch, device=given.device)
    high = torch.rand(given.batch, 3, side, side, device=given.device)
    steps: dict[tuple[str, str], Callable[[], list[float]]] = {}
    for form in ("branches", "plain"):
        for name, dtype in DTYPES.items():
            hyper = Hyperparameters(channels=given.channels)
            network = new_network(hyper, 0, form == "branches").to(given.device)
            colours = given.colours if form == "plain" else 0
            steps[form, name] = step_of(network, dtype, low, high, colours)
            flop = flop_of(network, given.scale) * given.batch * given.patch**2
    times: dict[tuple[str, str], list[list[float]]] = {key: [] for key in steps}
    peaks: dict[str, list[float]] = {name: [] for name in DTYPES}
    for step in steps.values():
        step()
    for _ in range(given.rounds):
        for key, step in steps.items():
            times[key].append(step())
        for name, dtype in DTYPES.items():
            peaks[name].append(peak(dtype, given.device))
    print(f"{given.batch} patches of {given.patch}x{given.patch}, x{given.scale}")
    print("| form, dtype | pixels a second | forward | backward | update |")
    print("|---|---|---|---|---|")
    for (form, name), rows in times.items():
        forward, backward, update = (median(column) for column in zip(*rows))
        rate = given.batch * given.patch**2 / (forward + backward + update)
        best = median(peaks[name])
        cells = [f"{1000 * t:.0f} ms" for t in (forward, backward, update)]
        cells[0] += f", {flop / forward / best:.0%} of the peak"
        cells[1] += f", {2 * flop / backward / best:.0%}"
        print(f"| {form}, {name} | {rate:.0f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
