"""Models from another copy of the package, and models that somebody cast."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from tiny import training_network

import spanpp_core

HALVES = [torch.float16, torch.bfloat16]


@pytest.fixture(scope="module")
def second_copy():
    """The package imported again under another name, as by a second pack of a host."""
    name = "second_copy_of_spanpp_core"
    place = Path(spanpp_core.__file__)
    spec = importlib.util.spec_from_file_location(
        name, place, submodule_search_locations=[str(place.parent)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    for each in [each for each in sys.modules if each.split(".")[0] == name]:
        del sys.modules[each]


@pytest.fixture
def theirs(second_copy: ModuleType):
    return second_copy.load(training_network().state_dict())


def test_a_model_of_this_copy_is_returned_as_it_is(model):
    assert spanpp_core.as_spanpp(model) is model


@pytest.mark.parametrize("scale", [2, 2.5, 4])
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_a_model_of_another_copy_gives_the_same_pictures(theirs, scale, dtype):
    theirs.checkpoint = replace(theirs.checkpoint, continuous=True, repair=0.5)
    bound = theirs.to(dtype=dtype).at_scale(scale)
    assert not isinstance(bound, spanpp_core.SpanPPDescriptor)
    ours = spanpp_core.as_spanpp(bound)
    assert isinstance(ours, spanpp_core.SpanPPDescriptor)
    assert (ours.scale, ours.dtype, ours.scales) == (scale, dtype, bound.scales)
    assert ours.continuous
    assert ours.repair == 0.5
    x = torch.rand(1, 3, 9, 7)
    assert torch.equal(ours(x), bound(x))


def test_weights_are_shared_and_attributes_kept(theirs):
    theirs.patcher = SimpleNamespace(model=theirs.model)
    theirs.backend = "torch"
    ours = spanpp_core.as_spanpp(theirs)
    assert ours.patcher is theirs.patcher
    assert ours.backend == "torch"
    theirs.model.half()
    assert ours.dtype == torch.float16
    ours.model.conv_cat.bias.zero_()
    assert not theirs.model.conv_cat.bias.any()


def test_weights_that_are_laid_out_otherwise_are_copied(theirs):
    theirs.patcher = SimpleNamespace(model=theirs.model)
    theirs.note = "kept"
    for parameter in theirs.model.upsampler.parameters():
        parameter.data = parameter.data.double()
    ours = spanpp_core.as_spanpp(theirs)
    assert ours.note == "kept"
    assert not hasattr(ours, "patcher")  # it would move weights that are not ours
    ours.model.conv_cat.bias.zero_()
    assert theirs.model.conv_cat.bias.any()


@pytest.mark.parametrize("other", [object(), None, torch.nn.Conv2d(1, 1, 1)])
def test_other_models_are_named(other):
    with pytest.raises(TypeError, match=f"found {type(other).__name__}; expected a Sp"):
        spanpp_core.as_spanpp(other)


@pytest.mark.parametrize("casts", [HALVES, HALVES[::-1], HALVES[:1], HALVES[1:]])
@pytest.mark.parametrize("back", [True, False])
def test_what_others_cast_is_saved_as_the_file_held_it(model, casts, back):
    expected = {k: t.clone() for k, t in model.model.state_dict().items()}
    for dtype in casts:
        model.model.to(dtype)
    if back:
        model.model.float()
    saved = spanpp_core.file_weights(model.at_scale(3)).state_dict
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], expected[name]) for name in saved)


def test_another_copys_casts_do_not_reach_the_file_weights(theirs):
    expected = {k: t.clone() for k, t in theirs.model.state_dict().items()}
    theirs.model.bfloat16()
    saved = spanpp_core.file_weights(spanpp_core.as_spanpp(theirs)).state_dict
    assert all(torch.equal(saved[name], expected[name]) for name in saved)


def test_weights_that_were_changed_are_saved_as_they_are(model):
    with torch.no_grad():
        model.model.conv_cat.weight.mul_(1.001)
    saved = spanpp_core.file_weights(model).state_dict
    assert torch.equal(saved["conv_cat.weight"], model.model.conv_cat.weight)
