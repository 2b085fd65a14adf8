"""The network that a training starts with: new, or that of any SpanPP file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from .. import checkpoint
from ..errors import CheckpointError
from ..network.branches import RepConvBranches, SpanPPBranches
from ..network.hyperparameters import Hyperparameters


def new_network(hyper: Hyperparameters, seed: int) -> SpanPPBranches:
    """Returns a randomly initialised network, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SpanPPBranches(hyper)


def network_of(path: Path, scales: Sequence[int], seed: int) -> SpanPPBranches:
    """Returns the network of a file in its training form, for some trained scales.

    A file with branches gives them back. A fused one has none: two of the three are
    initialised anew, and the third is what is left of the fused convolution, so that
    the network computes what the file's did.

    Raises:
        CheckpointError: The file is not a SpanPP checkpoint.
    """
    found = checkpoint.read(path)
    network = new_network(replace(found.hyper, scales=tuple(scales)), seed)
    if found.kind == "training":
        stored = checkpoint.find(checkpoint.read_tensors(path)) or {}
        state = network.state_dict()
        state.update({k: stored[k] for k in state if k in stored and k != "MetaIGConv"})
        network.load_state_dict(state)
        return network
    state = {**found.state_dict, "MetaIGConv": network.MetaIGConv}
    for name, module in network.named_modules():
        if isinstance(module, RepConvBranches):
            weight = state.pop(f"{name}.conv_3x3_rep.weight")
            bias = state.pop(f"{name}.conv_3x3_rep.bias")
            with torch.no_grad():
                made = module.fused()
                share = module.alpha[1]
                module.conv2.weight += (weight - made.weight) / share
                module.conv2.bias += (bias - made.bias) / share  # pyright: ignore
    rest = network.load_state_dict(state, strict=False)
    if rest.unexpected_keys:
        raise CheckpointError(f"{path}: {rest.unexpected_keys[0]} has no place")
    return network
