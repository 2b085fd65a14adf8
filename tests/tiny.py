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


def too_large_for_float16() -> dict[str, torch.Tensor]:
    """A training state dict whose tensors fit float16, and whose fused kernels do not."""
    state = dict(training_network().state_dict())
    for part in ("k0", "k1"):
        name = f"block_2.c1_r.conv1.{part}"
        state[name] = state[name] * 2e3
    return state


def fine_tuned(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict as a short further training would leave it, near the one given."""
    random = torch.Generator().manual_seed(1)

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        step = 0.1 * tensor.square().mean().sqrt()
        return tensor + step * torch.randn(tensor.shape, generator=random)

    return {k: moved(t) if t.is_floating_point() else t for k, t in state.items()}
