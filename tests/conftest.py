"""Fixtures over the small models of tiny.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import TINY, training_network

import spanpp_core
from spanpp_core.network.hyperparameters import Hyperparameters

torch.set_num_threads(1)  # the models are tiny, and other work may be running


@pytest.fixture
def training_state() -> dict[str, torch.Tensor]:
    """The state dict of a small training checkpoint."""
    return dict(training_network().state_dict())


@pytest.fixture
def make() -> Callable[..., spanpp_core.SpanPPDescriptor]:
    """Loads a small model with the given hyper-parameters."""

    def load(**hyper: object) -> spanpp_core.SpanPPDescriptor:
        network = training_network(Hyperparameters(**{**vars(TINY), **hyper}))
        return spanpp_core.load(network.state_dict())

    return load


@pytest.fixture
def model(make: Callable[..., spanpp_core.SpanPPDescriptor]):
    return make()


@pytest.fixture
def weights(tmp_path_factory) -> Path:
    """A file of a small training checkpoint."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(training_network().state_dict(), path)
    return path
