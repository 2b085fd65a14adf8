"""SpanPP within spandrel, as hosts use it."""

from __future__ import annotations

import copy
import io
import pickle
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import spandrel
import torch
from tiny import DATA, training_network

import spanpp_core
from spanpp_core.checkpoint import parse

FILES = sorted(
    path for path in DATA.iterdir() if "io" not in path.name and path.suffix != ".md"
)


@pytest.fixture(autouse=True)
def _installed():
    spanpp_core.install()


def test_install_is_idempotent():
    before = len(spandrel.MAIN_REGISTRY)
    spanpp_core.install()
    spanpp_core.install()
    assert len(spandrel.MAIN_REGISTRY) == before
    assert "SpanPP" in spandrel.MAIN_REGISTRY


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_spandrels_own_loader_reads_it(path: Path):
    model = spandrel.ModelLoader().load_from_file(path)
    assert isinstance(model, spanpp_core.SpanPPDescriptor)
    x = torch.rand(1, 3, 9, 7)
    assert torch.equal(model(x), spanpp_core.load(path)(x))
    assert not model.model.training
    assert not any(p.requires_grad for p in model.model.parameters())


@pytest.mark.parametrize("wrap", ["params_g", "_orig_mod.", "net_g_ema."])
def test_spandrels_loader_reads_wrappers_it_does_not_know(wrap: str, tmp_path: Path):
    state = training_network().state_dict()
    content = {wrap + key: t for key, t in state.items()}
    if not wrap.endswith("."):
        content = {wrap: state, "iter": 3}
    torch.save(content, tmp_path / "model.pth")
    model = spandrel.ModelLoader().load_from_file(tmp_path / "model.pth")
    assert isinstance(model, spanpp_core.SpanPPDescriptor)


def test_no_other_architecture_claims_spanpp():
    state = training_network().state_dict()
    claims = [
        support.architecture.id
        for support in spandrel.MAIN_REGISTRY.architectures("detection")
        if support.architecture.detect(state)
    ]
    assert claims == ["SpanPP"]


@pytest.mark.parametrize("scale", [1, 2, 2.5])
def test_descriptor_as_hosts_use_it(model, scale):
    view = model.at_scale(scale)
    assert view.purpose == "SR"
    assert (view.input_channels, view.output_channels) == (3, 3)
    assert view.architecture.name == "SpanPP"
    assert (view.supports_half, view.supports_bfloat16) == (True, True)
    assert view.tiling is spandrel.ModelTiling.SUPPORTED
    assert hash(view) is not None
    assert weakref.ref(view)() is view
    x = torch.randn(1, 3, 6, 4) * 3
    y = view(x)
    assert y.shape == (1, 3, round(6 * scale), round(4 * scale))
    assert y.min() >= 0
    assert y.max() <= 1
    assert torch.equal(y, view.model(x).clamp(0, 1))


@pytest.mark.parametrize("wrong", [0.5, 9, "2"])
def test_wrong_scale_names_the_trained_ones(model, wrong):
    with pytest.raises(spanpp_core.ScaleError, match="x1, x2, x3, x4"):
        model.at_scale(wrong)


def test_saved_state_dict_loads_again(model, tmp_path: Path):
    """What a host's Save Model node writes after any cast."""
    x = torch.rand(1, 3, 6, 4)
    expected = model(x)
    torch.save(model.half().model.state_dict(), tmp_path / "saved.pth")
    again = spanpp_core.load(tmp_path / "saved.pth")
    assert (again(x) - expected).abs().max() < 1e-2


@pytest.mark.parametrize("dtype", ["float16", torch.int8, None], ids=str)
def test_dtypes_that_weights_cannot_have_are_told(model, weights, tmp_path, dtype):
    told = f"dtype is {dtype!r}; give torch.float32, torch.float16 or torch.bfloat16"
    for use in (
        lambda: spanpp_core.load(weights, dtype=dtype),
        lambda: model.with_dtype(dtype),
        lambda: spanpp_core.write_slim(
            tmp_path / "slim.safetensors", model.checkpoint, dtype
        ),
    ):
        with pytest.raises(spanpp_core.PrecisionError, match=told):
            use()
    assert not [*tmp_path.iterdir()]


def _pickled(model: spanpp_core.SpanPPDescriptor) -> spanpp_core.SpanPPDescriptor:
    return pickle.loads(pickle.dumps(model))


def _saved(model: spanpp_core.SpanPPDescriptor) -> spanpp_core.SpanPPDescriptor:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [_pickled, _saved, copy.deepcopy])
def test_models_go_to_other_processes(model, copied):
    view = model.with_dtype(torch.bfloat16).at_scale(2.5)
    x = torch.rand(1, 3, 9, 7)
    expected = spanpp_core.upscale(view, x)  # what was made for it stays behind
    again = copied(view)
    assert (again.scale, again.dtype, again.scales) == (
        2.5,
        torch.bfloat16,
        (1, 2, 3, 4),
    )
    assert torch.equal(spanpp_core.upscale(again, x), expected)
    assert torch.equal(again.at_scale(3)(x), view.at_scale(3)(x))
    again.model.conv_cat.weight.data.zero_()
    assert torch.equal(spanpp_core.upscale(view, x), expected), "a copy of its own"


def test_interpolated_state_dicts_load(model):
    """What a host's Interpolate Models node makes: every tensor averaged."""
    ours, theirs = (training_network(seed=seed).fused_state_dict() for seed in (0, 1))
    mixed = {key: ours[key] * 0.3 + theirs[key] * 0.7 for key in ours}
    loaded = spanpp_core.load(mixed)
    assert loaded.scales == (1, 2, 3, 4)
    assert loaded(torch.rand(1, 3, 4, 4)).isfinite().all()


def test_the_bundled_weights_have_a_repair_model():
    clean = spanpp_core.load(spanpp_core.bundled_model())
    beside = spanpp_core.load(spanpp_core.bundled_model(), repair=1)
    assert clean.repair == 0
    assert beside.repair == 1
    assert beside.continuous
    x = torch.rand(1, 3, 8, 8)
    assert not torch.equal(clean(x), beside(x))


def test_bundled_files_are_there():
    model = spanpp_core.load(spanpp_core.bundled_model())
    assert model.scales == (1, 2, 3, 4)
    assert model.model.hyper.channels == 48
    assert spanpp_core.bundled_photo().is_file()


def test_a_checkpoint_read_before_is_loaded_with_what_the_file_said(training_state):
    found = replace(parse(training_state), continuous=True)
    loaded = spanpp_core.load(found)
    assert loaded.continuous
    x = torch.rand(1, 3, 5, 4)
    assert torch.equal(loaded(x), spanpp_core.load(training_state)(x))
