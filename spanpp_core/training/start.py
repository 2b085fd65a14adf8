"""The network that a training starts with: new, or that of any SpanPP file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from .. import checkpoint
from ..network.branches import STEADY_ALPHA, SpanPPBranches
from ..network.hyperparameters import Hyperparameters


def new_network(hyper: Hyperparameters, seed: int) -> SpanPPBranches:
    """Returns a randomly initialised network, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SpanPPBranches(hyper, alpha=STEADY_ALPHA)


def network_of(path: Path, scales: Sequence[int], seed: int) -> SpanPPBranches:
    """Returns the network of a file in its training form, for some trained scales.

    A file with branches gives them back. A fused one has none: the 1x1 branches are
    initialised anew and the plain one becomes what they leave of the fused convolution,
    so that the network computes what the file's did.

    Raises:
        CheckpointError: The file is not a SpanPP checkpoint.
    """
    found = checkpoint.read(path)
    network = new_network(replace(found.hyper, scales=tuple(scales)), seed)
    state = network.state_dict()
    if found.kind == "training":
        stored = checkpoint.find(checkpoint.read_tensors(path)) or {}
    else:
        stored = {**found.state_dict, **network.branches_for(found.state_dict)}
    state.update({k: stored[k] for k in state if k in stored and k != "MetaIGConv"})
    network.load_state_dict(state)
    return network
