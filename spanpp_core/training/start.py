"""The network that a training starts with: new, or that of any SpanPP file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from .. import checkpoint
from ..network.branches import RepConvBranches, SpanPPBranches
from ..network.hyperparameters import Hyperparameters
from ..network.model import RepConv, SpanPP
from ..network.reparam import Conv3x3


def new_network(hyper: Hyperparameters, seed: int) -> SpanPPBranches:
    """Returns a randomly initialised network, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SpanPPBranches(hyper)


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
    if found.kind == "training":
        stored = checkpoint.find(checkpoint.read_tensors(path)) or {}
        state = network.state_dict()
        state.update({k: stored[k] for k in state if k in stored and k != "MetaIGConv"})
        network.load_state_dict(state)
        return network
    fused = SpanPP(found.hyper)
    fused.load_state_dict(found.state_dict)
    convs = cast("Iterable[tuple[str, nn.Module]]", network.named_modules())
    for name, conv in convs:
        if isinstance(conv, RepConvBranches):
            plain = cast(RepConv, fused.get_submodule(name)).conv_3x3_rep
            conv.become(Conv3x3(plain.weight, cast(Tensor, plain.bias)))
    network.conv_cat.load_state_dict(fused.conv_cat.state_dict())
    network.upsampler.load_state_dict(fused.upsampler.state_dict())
    return network
