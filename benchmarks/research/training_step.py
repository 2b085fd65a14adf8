"""Training in weight space against the three branches: the same numbers, sooner.

First, in float64, the largest difference in the values and in the gradients between a
convolution fused inside the graph and its three branches run one by one, over all
convolutions of a new network. Then what a whole step takes (forward, L1, backward,
Adam), both ways in turn, the median of the rounds.

Run on an idle machine: python benchmarks/research/training_step.py [--rounds 5]
[--batch 8] [--patch 32] [--threads N]
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from spanpp_core.network.branches import RepConvBranches, SpanPPBranches
from spanpp_core.network.hyperparameters import Hyperparameters
from spanpp_core.network.trainable import TrainableSpanPP

BAR = 1e-10
"""What float64 may differ by."""

SCALE = 2


def by_branches(network: SpanPPBranches) -> SpanPPBranches:
    """Returns a copy of a network that runs its branches one by one."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, RepConvBranches):
            module.forward = module.run_branches
    network.forward = partial(TrainableSpanPP.forward, network)  # fuses nothing
    return network


def differences(conv: RepConvBranches, x: Tensor) -> tuple[float, float]:
    """Returns the largest difference in the result, and in the gradients.

    A gradient's is relative to the largest entry of the tensor it belongs to.
    """
    values: list[Tensor] = []
    gradients: list[list[Tensor]] = []
    for result in (F.conv2d(x, *conv.fused(), padding=1), conv.run_branches(x)):
        values.append(result)
        loss = result.square().sum()
        gradients.append([*torch.autograd.grad(loss, [*conv.parameters(), x])])
    in_gradients = max(
        ((a - b).abs().max() / b.abs().max()).item() for a, b in zip(*gradients)
    )
    return (values[0] - values[1]).abs().max().item(), in_gradients


def step_of(network: SpanPPBranches, low: Tensor, high: Tensor) -> Callable[[], None]:
    """Returns one training step of a network, to be called again and again."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        F.l1_loss(network(low, SCALE), high).backward()
        optimizer.step()

    return step


def main() -> None:
    """Prints the differences and the times; fails where the differences are too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=32, help="low-resolution pixels")
    parser.add_argument("--channels", type=int, default=48)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    network = SpanPPBranches(Hyperparameters(channels=given.channels))
    low = torch.rand(given.batch, 3, given.patch, given.patch)
    high = torch.rand(given.batch, 3, given.patch * SCALE, given.patch * SCALE)
    found = [
        differences(
            copy.deepcopy(module).double(),
            torch.rand(2, module.conv2.in_channels, 24, 24).double().requires_grad_(),
        )
        for module in network.modules()
        if isinstance(module, RepConvBranches)
    ]
    largest = tuple(max(each) for each in zip(*found))
    print(
        f"float64, {len(found)} convolutions, largest difference: values"
        f" {largest[0]:.1e}, gradients {largest[1]:.1e} (bar {BAR:.0e})"
    )
    ways = {
        "three branches": step_of(by_branches(network), low, high),
        "weight space": step_of(network, low, high),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for step in ways.values():
        step()
    for _ in range(given.rounds):
        for name, step in ways.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    print(
        f"a step, batch {given.batch} of {given.patch}x{given.patch} at x{SCALE},"
        f" {given.channels} channels, {given.threads} threads, {given.rounds} rounds:"
    )
    for name, taken in times.items():
        print(f"  {name}: {1000 * median(taken):.0f} ms")
    slow, fast = times.values()
    print(f"  ratio: {median(a / b for a, b in zip(slow, fast)):.2f}")
    sys.exit(not all(value < BAR for values in found for value in values))


if __name__ == "__main__":
    main()
