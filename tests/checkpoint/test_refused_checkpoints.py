"""What can be wrong with a file always ends in one clear line."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusal import refusal
from safetensors.torch import save
from tiny import TINY, training_network

import spanpp_core
from spanpp_core import checkpoint
from spanpp_core.checkpoint import files
from spanpp_core.network.model import SpanPP

CONV = "block_3.c2_r"


def test_missing_and_unknown_files(tmp_path: Path):
    assert "no such file" in refusal(tmp_path / "absent.pth")
    (tmp_path / "model.onnx").write_bytes(b"x")
    assert "found a .onnx file" in refusal(tmp_path / "model.onnx")
    assert "no such file" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_the_system_says_is_told(tmp_path: Path, monkeypatch, suffix):
    """A file that may not be read is not damaged."""
    path = tmp_path / f"x{suffix}"
    torch.save({}, path)

    def refused(*_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files.pickles, "check", refused)
    monkeypatch.setattr(files, "load_file", refused)
    assert refusal(path).endswith(f"x{suffix}: cannot be read (Permission denied)")


def test_a_tower_of_layers_is_refused_before_it_is_built(training_state):
    for layer in range(3000):
        training_state[f"upsampler.query_kernel.{layer}.weight"] = torch.zeros(0)
    start = time.monotonic()
    assert "layers" in refusal(training_state)
    assert time.monotonic() - start < 1


def test_other_networks_are_named():
    span = {
        f"block_1.c{i}_r.{part}": torch.zeros(4, 4, 3, 3)
        for i in (1, 2, 3)
        for part in ("sk.weight", "conv.0.weight", "eval_conv.weight")
    }
    assert "expected SpanPP" in refusal(span)
    esrgan = {
        "model.0.weight": torch.zeros(8, 3, 3, 3),
        "model.1.sub.0.RDB1.conv1.0.weight": torch.zeros(4, 8, 3, 3),
        "model.1.sub.0.RDB1.conv1.0.bias": torch.zeros(4),
    }
    assert "another network, ESRGAN" in refusal(esrgan)
    assert "no tensors" in refusal({"epoch": 3})
    assert "not known here" in refusal({"weight": torch.zeros(3)})


def test_spanc_is_not_claimed(training_state):
    training_state["upsampler.coord_map"] = torch.zeros(4)
    assert "SpanC" in refusal(training_state)
    assert not checkpoint.is_spanpp(training_state)


def test_frozen_file_is_named():
    frozen = {
        key: tensor
        for key, tensor in training_network().fused_state_dict().items()
        if not key.startswith("upsampler")
    }
    assert "frozen at one scale" in refusal(frozen)


@pytest.mark.parametrize(
    "name", [f"{CONV}.conv2.bias", f"{CONV}.alpha", "upsampler.phase.bias"]
)
def test_incomplete_checkpoints_are_damaged_even_with_caches(training_state, name):
    fused = training_network().fused_state_dict()
    message = refusal({**fused, **training_state} | {name: None})
    assert name in message
    training_state = {**fused, **training_state}
    del training_state[name]
    message = refusal(training_state)
    assert name in message
    assert "1 of " in message


def test_one_leftover_branch_tensor_is_an_error_not_a_fallback():
    state = training_network().fused_state_dict()
    state["conv0.alpha"] = torch.ones(3)
    assert "conv0.conv2.weight" in refusal(state)


def test_nan_is_named(training_state):
    training_state[f"{CONV}.conv1.k1"][0, 0, 0, 0] = torch.nan
    message = refusal(training_state)
    assert f"{CONV}.conv1.k1" in message
    assert "NaN" in message


def test_branches_that_fuse_to_infinity_are_named(training_state):
    for part in ("k0", "k1"):
        training_state[f"{CONV}.conv1.{part}"][:] = 1e30
    message = refusal(training_state)
    assert f"{CONV}.conv_3x3_rep.weight holds NaN or infinite values" in message


@pytest.mark.parametrize("none", [{"in_channels": 0}, {"implicit_dim": 0}])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_network_of_nothing_is_refused(none):
    refusal(SpanPP(replace(TINY, **none)).state_dict())


@pytest.mark.parametrize(
    "meta", [torch.tensor([0, 2]), torch.tensor([9]), torch.tensor([torch.nan]), "1,2"]
)
def test_impossible_trained_scales(training_state, meta):
    training_state["MetaIGConv"] = meta
    assert "MetaIGConv" in refusal(training_state)


class _Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_pickles_are_not_executed(training_state, tmp_path: Path, zipped):
    trace = tmp_path / "executed"
    training_state["extra"] = _Hostile(trace)
    path = tmp_path / "model.pth"
    torch.save(training_state, path, _use_new_zipfile_serialization=zipped)
    assert "which could run code" in refusal(path)
    assert not trace.exists()


@pytest.mark.skipif(
    not hasattr(torch.serialization, "safe_globals"),
    reason="needs PyTorch 2.5, whose reader can be told what is harmless",
)
def test_plain_pickles_models_and_tars_are_refused(tmp_path: Path):
    trace = tmp_path / "executed"
    path = tmp_path / "plain.pth"
    path.write_bytes(pickle.dumps(_Hostile(trace)))
    assert str(path) in refusal(path)
    torch.save(training_network(), path)
    assert "save `model.state_dict()`" in refusal(path)
    torch.save([1, 2], path)
    assert "found a pickled list" in refusal(path)
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"), io.BytesIO(b""))
    assert "tar archive" in refusal(path)
    assert not trace.exists()


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_mutated_checkpoints_are_refused(data: st.DataObject):
    """One tensor wrong in shape, dtype, value or presence: never an odd error."""
    state: dict[str, object] = dict(training_network().state_dict())
    name = data.draw(st.sampled_from(sorted(k for k in state if k != "MetaIGConv")))
    tensor = state[name]
    assert isinstance(tensor, torch.Tensor)
    mutated = data.draw(
        st.sampled_from(
            [
                None,
                "text",
                tensor.unsqueeze(0),
                torch.cat([tensor, tensor]),
                tensor.new_zeros(0),
                tensor.new_tensor(1.0),
                tensor.to(torch.int32),
                tensor.to(torch.complex64),
                tensor.to_sparse(),
                torch.full_like(tensor, torch.inf),
                torch.quantize_per_tensor(tensor.detach(), 0.1, 0, torch.quint8),
            ]
        )
    )
    state[name] = mutated
    refusal(state)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_whole(data: st.DataObject, tmp_path_factory):
    """Bytes cut off or overwritten in either format."""
    path = tmp_path_factory.getbasetemp() / data.draw(
        st.sampled_from(["m.safetensors", "m.pth"])
    )
    state = training_network().fused_state_dict()
    if path.suffix == ".pth":
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
    else:
        content = save(state)
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(content[:at])
        refusal(path)
        return
    junk = data.draw(st.binary(min_size=1, max_size=64))
    path.write_bytes(content[:at] + junk + content[at + len(junk) :])
    try:
        spanpp_core.load(path)  # the damage may be within the weights' values
    except spanpp_core.CheckpointError as error:
        assert "\n" not in str(error)  # noqa: PT017 either way is right


def test_safetensors_with_a_huge_header_is_refused(tmp_path: Path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    assert "damaged" in refusal(path)


@pytest.mark.parametrize(
    "name", ["conv_cat.weight", "MetaIGConv", "upsampler.freq", "conv0.conv2.weight"]
)
@pytest.mark.parametrize(
    "hollow",
    [
        lambda t: t.to("meta"),
        lambda t: torch.eye(3).to_sparse_csr(),
        lambda t: torch.zeros(1).expand(2**40, 3, 3, 3),
        lambda t: torch.zeros(1).expand(10**8),
        lambda t: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
    ],
)
def test_tensors_without_values_of_their_own_are_refused(training_state, name, hollow):
    training_state[name] = hollow(training_state[name])
    assert name in refusal(training_state)


def test_hollow_caches_are_ignored_like_any_other(training_state):
    expected = spanpp_core.load(training_state)(torch.ones(1, 3, 4, 4))
    training_state["conv0.conv_3x3_rep.weight"] = torch.zeros(1).expand(2**40)
    training_state["conv0.conv_3x3_rep.bias"] = torch.zeros(4).to_sparse()
    assert torch.equal(
        spanpp_core.load(training_state)(torch.ones(1, 3, 4, 4)), expected
    )


def test_dicts_within_dicts_within_dicts_do_not_hang(tmp_path: Path):
    nested: dict[str, object] = {"x": 1}
    for _ in range(3):
        nested = {f"k{i}": nested for i in range(300)}
    torch.save(nested, tmp_path / "laughs.pth")
    assert "no tensors" in refusal(tmp_path / "laughs.pth")
