"""The network that a training starts with: new, or that of any SpanPP file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from .. import checkpoint
from ..network.branches import STEADY_ALPHA, SpanPPBranches
from ..network.hyperparameters import Hyperparameters
from ..network.trainable import SpanPPPlain, TrainableSpanPP
from .recipe import Recipe


def initial_network(recipe: Recipe) -> TrainableSpanPP:
    """Returns the network that a recipe begins with, for the scales that it trains.

    Raises:
        CheckpointError: Its weights are not a SpanPP checkpoint.
    """
    if recipe.weights is None:
        hyper = Hyperparameters(channels=recipe.channels, scales=recipe.scales)
        return new_network(hyper, recipe.seed, recipe.branches)
    path = Path(recipe.weights)
    return network_of(path, recipe.scales, recipe.seed, recipe.branches)


def new_network(
    hyper: Hyperparameters, seed: int, branches: bool = True
) -> TrainableSpanPP:
    """Returns a randomly initialised network, the same for the same seed.

    Args:
        hyper: Its sizes and trained scales.
        seed: Of the random numbers.
        branches: Whether three branches stand behind each convolution. A plain network
            begins as the fused form of one with branches.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SpanPPBranches(hyper, alpha=STEADY_ALPHA)
    return network if branches else plain(hyper, network.fused_state_dict())


def network_of(
    path: Path, scales: Sequence[int], seed: int, branches: bool = True
) -> TrainableSpanPP:
    """Returns the network of a file in a training form, for some trained scales.

    A file with branches gives them back. A fused one has none: the 1x1 branches are
    initialised anew and the plain one becomes what they leave of the fused convolution,
    so that the network computes what the file's did.

    Raises:
        CheckpointError: The file is not a SpanPP checkpoint.
    """
    found = checkpoint.read(path)
    hyper = replace(found.hyper, scales=tuple(scales))
    if not branches:
        return plain(hyper, found.state_dict)
    network = new_network(hyper, seed)
    assert isinstance(network, SpanPPBranches)  # noqa: S101  (for the type checker)
    state = network.state_dict()
    if found.kind == "training":
        stored = checkpoint.find(checkpoint.read_tensors(path)) or {}
    else:
        stored = {**found.state_dict, **network.branches_for(found.state_dict)}
    state.update({k: stored[k] for k in state if k in stored and k != "MetaIGConv"})
    network.load_state_dict(state)
    return network


def plain(hyper: Hyperparameters, fused: dict[str, torch.Tensor]) -> SpanPPPlain:
    """Returns the network of a fused state dict, to train its convolutions as they are."""
    network = SpanPPPlain(hyper)
    network.load_state_dict({**fused, "MetaIGConv": network.get_buffer("MetaIGConv")})
    return network
