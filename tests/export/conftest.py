"""Small models, as the core reads them from files."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny import training_network

from spanpp_core import checkpoint
from spanpp_core.checkpoint import Checkpoint
from spanpp_core.network.hyperparameters import Hyperparameters


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Images of a few pixels: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def _parsed(kernel_size: int, scales: tuple[int, ...]) -> Checkpoint:
    hyper = Hyperparameters(
        channels=8,
        kernel_size=kernel_size,
        implicit_dim=32,
        latent_layers=2,
        scales=scales,
    )
    return checkpoint.parse(training_network(hyper).state_dict())


def parsed(kernel_size: int, scales: tuple[int, ...]) -> Checkpoint:
    """A checkpoint of the caller's own."""
    return copy.deepcopy(_parsed(kernel_size, scales))


@pytest.fixture(params=[1, 3, 5], ids="K={}".format)
def any_model(request: pytest.FixtureRequest) -> Checkpoint:
    return parsed(request.param, (2, 3, 6) if request.param == 5 else (1, 2, 3, 4))


@pytest.fixture
def small_model() -> Checkpoint:
    return parsed(3, (1, 2, 3, 4))


@pytest.fixture
def model_file(small_model: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    checkpoint.write_slim(path, small_model)
    return path
