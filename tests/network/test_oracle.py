"""The public loader as oracle, on weights it can read (K = 3, scales with 2)."""

from __future__ import annotations

import pytest
import torch
from tiny import training_network

import spanpp_core
from spanpp_core.network.hyperparameters import Hyperparameters

oracle = pytest.importorskip(
    "resselt.archs.spanpp.arch",
    reason="resselt is not installed: pip install --no-deps resselt",
)


@pytest.mark.parametrize(
    ("channels", "implicit_dim", "latent_layers", "scales"),
    [(6, 16, 2, (1, 2, 3, 4)), (5, 8, 0, (2,)), (8, 12, 3, (2, 4, 6))],
)
def test_equals_the_public_network(channels, implicit_dim, latent_layers, scales):
    hyper = Hyperparameters(
        channels=channels,
        implicit_dim=implicit_dim,
        latent_layers=latent_layers,
        scales=scales,
    )
    network = training_network(hyper, seed=channels)
    theirs = oracle.SpanPP(
        feature_channels=channels,
        scale_list=scales,
        implicit_dim=implicit_dim,
        latent_layers=latent_layers,
    )
    missing, unexpected = theirs.load_state_dict(network.state_dict(), strict=False)
    assert not unexpected
    assert all("conv_3x3_rep" in key or "eval_conv" in key for key in missing)
    theirs.eval()
    model = spanpp_core.load(network.state_dict())
    x = torch.rand(2, 3, 17, 23)
    with torch.no_grad():
        for scale in scales:
            expected = theirs(x, scale)
            result = model.at_scale(scale).model(x)
            torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
