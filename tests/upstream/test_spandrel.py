"""SpanPP as it is proposed to spandrel: the same network, at its base scale."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import spandrel.architectures
import torch
from spandrel import ArchRegistry, ArchSupport, ModelLoader
from tiny import DATA, TINY, training_network

import spanpp_core
from spanpp_core.checkpoint import read_tensors
from spanpp_core.network.hyperparameters import Hyperparameters

ROOT = spanpp_core.bundled_model().parents[2]
FOLDER = ROOT / "upstream/spandrel/libs/spandrel/spandrel/architectures"
NAME = "spandrel.architectures.SpanPP"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModuleType]:
    """The architecture as a part of the installed spandrel."""
    paths = spandrel.architectures.__path__
    paths.append(str(FOLDER))
    yield importlib.import_module(NAME)
    paths.remove(str(FOLDER))
    for name in [name for name in sys.modules if name.startswith(NAME)]:
        del sys.modules[name]


@pytest.fixture
def loader(upstream: ModuleType) -> ModelLoader:
    known = ArchSupport.from_architecture(upstream.SpanPPArch())
    registry = ArchRegistry()
    registry.add(
        *(
            support
            for support in spandrel.MAIN_REGISTRY.architectures("insertion")
            if support.architecture.id != "SpanPP"
        ),
        known,
    )
    return ModelLoader(registry=registry)


HYPERS = [
    TINY,
    Hyperparameters(channels=4, implicit_dim=8, latent_layers=0, kernel_size=1),
    Hyperparameters(channels=5, implicit_dim=6, latent_layers=2, kernel_size=5),
    Hyperparameters(channels=4, in_channels=1, implicit_dim=8, scales=(3, 8)),
    Hyperparameters(channels=4, in_channels=4, implicit_dim=8, scales=(1,)),
]


@pytest.mark.parametrize("hyper", HYPERS)
@pytest.mark.parametrize("kind", ["training", "with caches", "fused"])
def test_equals_ours_at_the_base_scale(upstream: ModuleType, hyper, kind: str):
    network = training_network(hyper)
    state = dict(network.state_dict())
    if kind == "with caches":
        state |= {
            name: cache + 1 for name, cache in network.published_fused_kernels().items()
        }
    if kind == "fused":
        state = network.fused_state_dict()
    before = dict(state)
    arch = upstream.SpanPPArch()
    assert arch.detect(state)
    theirs, ours = arch.load(state), spanpp_core.load(state)
    assert state == before, "the caller's dict was changed"
    assert theirs.scale == ours.scale
    assert theirs.input_channels == ours.input_channels
    assert theirs.tags == ours.tags
    x = torch.rand(2, hyper.in_channels, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(theirs.model(x), ours.model(x), rtol=1e-4, atol=1e-5)
    found, wanted = theirs.model.state_dict(), ours.model.state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", range(1, 9))
def test_equals_ours_at_every_whole_scale(upstream: ModuleType, scale: int):
    state = training_network().fused_state_dict()
    theirs = upstream.SpanPP(
        feature_channels=4, implicit_dim=8, latent_layers=1, eval_base_scale=scale
    )
    theirs.load_state_dict(state)
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        wanted = spanpp_core.load(state).at_scale(scale).model(x)
        torch.testing.assert_close(theirs(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scales", [None, [2.0, 1.0, 2.0], [4, 1]])
def test_scales_are_read_as_ours_are(upstream: ModuleType, scales):
    state = training_network().fused_state_dict()
    del state["MetaIGConv"]
    if scales:
        state["MetaIGConv"] = torch.tensor(scales)
    theirs, ours = upstream.SpanPPArch().load(state), spanpp_core.load(state)
    assert theirs.model.MetaIGConv.tolist() == list(ours.scales)
    assert theirs.scale == ours.scale


def test_a_strangers_loader_reads_the_bundled_file(loader: ModelLoader):
    theirs = loader.load_from_file(spanpp_core.bundled_model()).eval()
    assert not isinstance(theirs, spanpp_core.SpanPPDescriptor)
    ours = spanpp_core.load(spanpp_core.bundled_model())
    x = torch.rand(1, 3, 40, 33)
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), ours(x), rtol=0, atol=1e-5)
        half = theirs.half()(x.half()).float()
    assert (half - ours(x)).abs().max() < 0.01


def test_a_stale_training_file_in_the_wild_is_fused_anew(loader: ModelLoader):
    file = DATA / "c16_k3_stale_ema.pth"
    theirs, ours = loader.load_from_file(file), spanpp_core.load(file)
    x = torch.rand(1, 3, 12, 10)
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), ours(x), rtol=1e-4, atol=1e-5)


def test_neosrs_spanc_is_not_claimed(upstream: ModuleType):
    state = training_network().fused_state_dict()
    spanc = {
        re.sub(r"^(block_\d)\.c1_r", r"\1.conv_a", name): tensor
        for name, tensor in state.items()
    }
    spanc = {k.replace(".c3_r.", ".conv_c."): v for k, v in spanc.items()}
    assert not upstream.SpanPPArch().detect(spanc)


def test_models_of_the_other_one_upscale_at_any_scale_here(upstream: ModuleType):
    state = read_tensors(spanpp_core.bundled_model())
    theirs = upstream.SpanPPArch().load(state)
    ours = spanpp_core.load(spanpp_core.bundled_model())
    x = torch.rand(1, 3, 12, 10)
    taken = spanpp_core.as_spanpp(theirs).at_scale(2.5)
    torch.testing.assert_close(taken(x), ours.at_scale(2.5)(x))
