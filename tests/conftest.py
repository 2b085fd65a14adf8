"""Fixtures over the small models of tiny.py."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import TINY, fine_tuned, training_network

import spanpp_core
from spanpp_core.network.hyperparameters import Hyperparameters

torch.set_num_threads(1)  # the models are tiny, and other work may be running


@functools.cache  # to build a network and fuse it takes longer than most tests
def _training_state() -> dict[str, torch.Tensor]:
    return dict(training_network().state_dict())


@pytest.fixture
def training_state() -> dict[str, torch.Tensor]:
    """The state dict of a small training checkpoint, the caller's own."""
    return copy.deepcopy(_training_state())


@functools.cache
def _parsed(hyper: Hyperparameters) -> spanpp_core.Checkpoint:
    return spanpp_core.parse(training_network(hyper).state_dict())


@pytest.fixture
def make() -> Callable[..., spanpp_core.SpanPPDescriptor]:
    """Loads a small model with the given hyper-parameters, its weights the caller's own."""

    def load(**hyper: object) -> spanpp_core.SpanPPDescriptor:
        found = _parsed(Hyperparameters(**{**vars(TINY), **hyper}))
        return spanpp_core.load(copy.deepcopy(found))

    return load


@pytest.fixture
def model(make: Callable[..., spanpp_core.SpanPPDescriptor]):
    return make()


@pytest.fixture
def weights(tmp_path_factory) -> Path:
    """A file of a small training checkpoint."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(_training_state(), path)
    return path


@pytest.fixture
def clean_file(weights: Path) -> Path:
    """A file of a small clean model, with that of its repair model beside it."""
    repair = fine_tuned(_training_state())
    save_file(repair, weights.with_name("tiny_repair.safetensors"))
    return weights


def pytest_report_header() -> str | None:
    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return f"GPU: {torch.cuda.get_device_name()}, {major}.{minor}, torch {torch.__version__}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA or ROCm GPU"))


NOT_IN_OLDER_PYTORCH = (
    "not implemented for 'Half'",  # float16 on CPUs
    "`fused=True` requires",  # Adam on CPUs
    "from the 'Meta' backend",
    "Found no NVIDIA driver",  # fake tensors on a GPU that is not there
    "has no attribute 'xpu'",
    "has no attribute 'register_load_state_dict_pre_hook'",  # traiNNer-redux needs it
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    return (yield from _skipped_where_pytorch_is_older())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    return (yield from _skipped_where_pytorch_is_older())


def _skipped_where_pytorch_is_older() -> Generator[None]:
    """Skips what PyTorch before 2.5 cannot do at all."""
    try:
        return (yield)
    except (RuntimeError, AttributeError) as error:
        older = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 5)
        if older and any(each in str(error) for each in NOT_IN_OLDER_PYTORCH):
            pytest.skip(f"this PyTorch cannot: {error}")
        raise


@pytest.fixture(autouse=True)
def _no_gpu_of_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of GitHub are said to have one, and no memory can be allocated on it."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture(autouse=True)
def _own_compiler_cache(request: pytest.FixtureRequest) -> None:
    """A compiler that has seen enough shapes compiles no more: each test starts anew."""
    if request.node.get_closest_marker("gpu"):
        torch.compiler.reset()
