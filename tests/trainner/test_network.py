"""The network that the trainer builds, without the trainer."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import DATA, training_network

import spanpp_core
from spanpp_core.network.hyperparameters import Hyperparameters
from traiNNer.archs.spanpp_network import SpanPPNetwork

OPTIONS = {
    "eval_base_scale": 2,
    "num_in_ch": 3,
    "feature_channels": 4,
    "ig_kernel_size": 3,
    "implicit_dim": 8,
    "latent_layers": 1,
}


def network(scales: tuple[int, ...] = (1, 2, 3, 4), **options: int) -> SpanPPNetwork:
    return SpanPPNetwork(scales=scales, **{**OPTIONS, **options})


@pytest.fixture
def trained() -> SpanPPNetwork:
    made = network()
    made.load_state_dict(training_network().state_dict())
    return made


def test_saves_the_keys_of_public_training_checkpoints():
    public = torch.load(DATA / "c16_k3_stale_ema.pth", weights_only=True)
    while "conv0.alpha" not in public:
        public = next(v for v in public.values() if isinstance(v, dict))
    hyper = spanpp_core.parse(public).hyper
    state = network(
        hyper.scales,
        eval_base_scale=hyper.default_scale,
        feature_channels=hyper.channels,
        implicit_dim=hyper.implicit_dim,
        latent_layers=hyper.latent_layers,
    ).state_dict()
    shapes = {name: tensor.shape for name, tensor in state.items()}
    assert shapes == {name: tensor.shape for name, tensor in public.items()}
    assert all(tensor.is_contiguous() for tensor in state.values())


def test_saved_caches_are_never_stale(trained: SpanPPNetwork):
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.1)
    checkpoint = spanpp_core.parse(trained.state_dict())
    assert checkpoint.stale_caches == ()
    assert checkpoint.kind == "training"
    assert vars(checkpoint.hyper) == vars(trained.hyper)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_runs_at_the_scale_that_was_set(trained: SpanPPNetwork, scale: int):
    x = torch.rand(2, 3, 7, 9)
    trained.scale = scale
    expected = spanpp_core.load(trained.state_dict()).at_scale(scale).model(x)
    torch.testing.assert_close(trained(x), expected, rtol=1e-4, atol=1e-5)
    assert trained(x).shape == (2, 3, 7 * scale, 9 * scale)


def test_copies_have_a_scale_and_files_of_their_own(trained: SpanPPNetwork):
    average = copy.deepcopy(trained)
    with torch.no_grad():
        average.conv_2.alpha.zero_()
    average.scale = 4
    assert trained.scale == 2
    fused = average.state_dict()["conv_2.conv_3x3_rep.weight"]
    assert fused.abs().max() == 0
    assert trained.state_dict()["conv_2.conv_3x3_rep.weight"].abs().max() > 0


@pytest.mark.parametrize("kind", ["with caches", "without caches", "fused"])
def test_every_kind_of_file_loads(trained: SpanPPNetwork, kind: str):
    state = {
        "with caches": trained.state_dict(),
        "without caches": trained.state_dict(keep_vars=True),
        "fused": trained.fused_state_dict(),
    }[kind]
    torch.manual_seed(5)
    loaded = network()
    names = set(state)
    # what the trainer does: compare names, then load
    assert set(loaded.map_state_dict(state)) == set(loaded.state_dict())
    loaded.load_state_dict(state, strict=True)
    assert set(state) == names, "the caller's dict was changed"
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(loaded(x), trained(x), rtol=1e-4, atol=1e-5)


def test_scales_are_those_of_the_config(trained: SpanPPNetwork):
    loaded = network(scales=(2, 4))
    loaded.load_state_dict(trained.state_dict())
    assert spanpp_core.parse(loaded.state_dict()).hyper.scales == (2, 4)


def test_another_network_does_not_match(trained: SpanPPNetwork):
    other = {"conv_first.weight": torch.zeros(1)}
    assert set(trained.map_state_dict(other)) != set(trained.state_dict())


def test_says_what_it_is(trained: SpanPPNetwork):
    again = trained.hyperparameters
    assert Hyperparameters(scales=tuple(again["scale_list"])).scales == (1, 2, 3, 4)
    assert again["eval_base_scale"] == 2
    assert again["feature_channels"] == 4


def test_frozen_network_is_plain_convolutions_for_images_of_any_size():
    trained = network(eval_base_scale=3)
    trained.load_state_dict(training_network().state_dict())
    with torch.inference_mode():
        frozen = trained.frozen()
        traced = torch.jit.trace(frozen, torch.rand(1, 3, 8, 8), check_trace=False)
        x = torch.rand(2, 3, 11, 6)
        torch.testing.assert_close(traced(x), trained(x), rtol=1e-4, atol=1e-5)
    kinds = [node.kind() for node in traced.inlined_graph.nodes()]
    assert kinds.count("aten::_convolution") == 22
    assert "aten::cos" not in kinds


def test_new_networks_start_from_the_steady_share():
    for name, parameter in network().named_parameters():
        if name.endswith("alpha"):
            assert parameter.tolist() == pytest.approx([1 / 3] * 3)


def test_every_parameter_learns(trained: SpanPPNetwork):
    trained(torch.rand(1, 3, 8, 8)).square().mean().backward()
    silent = [n for n, p in trained.named_parameters() if p.grad is None]
    assert silent == []
