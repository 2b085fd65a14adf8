"""Models small enough to run in milliseconds."""

from __future__ import annotations

from pathlib import Path

import torch

from spanpp_core.network.branches import SpanPPBranches
from spanpp_core.network.hyperparameters import Hyperparameters

DATA = Path(__file__).parent / "data"

TINY = Hyperparameters(channels=4, implicit_dim=8, latent_layers=1)


def training_network(hyper: Hyperparameters = TINY, seed: int = 0) -> SpanPPBranches:
    """A randomly initialised training network, the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SpanPPBranches(hyper)
        with torch.no_grad():
            # the published initialisation is so flat that every position gets the
            # same kernel; tests must be able to tell positions apart
            network.upsampler.freq.normal_()
            network.upsampler.amplitude.normal_()
            for name, parameter in network.named_parameters():
                if name.endswith("alpha"):
                    parameter.uniform_(0.2, 0.5)
    return network
