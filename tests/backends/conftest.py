"""Fixtures of the backends."""

from __future__ import annotations

from pathlib import Path

import cuda_emulator
import pytest
import torch
from torch import Tensor

from spanpp_core.backends import fallback, selection


@pytest.fixture(autouse=True)
def _every_line_anew():
    """The same reason is logged only once in a process."""
    fallback._log_once.cache_clear()


@pytest.fixture(autouse=True)
def _chosen_anew():
    """What is installed is looked up only once in a process."""
    selection._fastest.cache_clear()
    yield
    selection._fastest.cache_clear()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def _compiled_kernels(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def _cuda_emulated(monkeypatch, _compiled_kernels):
    """CUDA kernels run on the CPU."""
    cuda_emulator.install(monkeypatch, _compiled_kernels)
