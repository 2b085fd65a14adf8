"""One file to one file: what goes wrong with it is one line and stops no other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from spanpp_core import DeviceError, Size, SizeError, images
from spanpp_core.batch.pairs import Pair
from spanpp_core.batch.upscaler import UpscaleOptions, Upscaler, device_named
from spanpp_core.engine import dynamic_range


@pytest.mark.parametrize(
    ("raise_it", "words"),
    [
        (lambda: np.empty(2**60, np.uint8), "Unable to allocate"),
        (lambda: torch.empty(2**60), "memory"),
        (MemoryError, "MemoryError"),
        (SizeError, "SizeError"),
    ],
)
def test_what_does_not_name_the_file_is_told_with_its_name(
    tmp_path, model, monkeypatch, raise_it, words
):
    def read(path):
        made = raise_it()
        raise made

    source = tmp_path / "in.png"
    Image.new("RGB", (8, 8)).save(source)
    monkeypatch.setattr(images, "read", read)
    options = UpscaleOptions(Size(), precision="fp32")
    outcome = Upscaler(model, options).file(Pair(source, tmp_path / "out.png"), print)
    assert outcome.failed
    assert words in outcome.line
    assert outcome.line.count(str(source)) == 1


@pytest.mark.parametrize(
    ("name", "looks"), [("in.png", 0), ("in.jpg", 0), ("in.tif", 1)]
)
def test_only_files_of_floating_point_are_looked_at_for_other_values(
    tmp_path, model, monkeypatch, name, looks
):
    """All others are read as integers: what they are divided by is their largest."""
    looked: list[torch.Tensor] = []
    monkeypatch.setattr(dynamic_range, "_ends", _noting(dynamic_range._ends, looked))
    source = tmp_path / name
    Image.new("F" if looks else "RGB", (8, 8)).save(source)
    options = UpscaleOptions(Size(), precision="fp32")
    result = source.with_stem("out")
    assert not Upscaler(model, options).file(Pair(source, result), _silent).failed
    assert len(looked) == looks


def _noting(function, given: list):
    return lambda x: given.append(x) or function(x)


def _silent(done: int, total: int) -> None:
    pass


@pytest.mark.parametrize(
    "name", ["hpu", "privateuseone", "meta", "nonsense", "cuda:99"]
)
def test_a_device_that_cannot_be_used_is_told(name):
    with pytest.raises(DeviceError, match=f"the device {name} cannot be used here"):
        device_named(name)


@pytest.mark.parametrize("kind", ["xpu", "mps"])
def test_a_gpu_of_another_maker_is_taken_where_no_device_is_named(monkeypatch, kind):
    module, number = torch.xpu if kind == "xpu" else torch.backends.mps, torch.zeros(1)
    monkeypatch.setattr(module, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", lambda size, device: number)
    assert device_named(None) == torch.device(kind)


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_a_gpu_that_this_pytorch_is_not_for_leaves_the_cpu_and_one_line(
    monkeypatch, caplog, kind
):
    """PyTorch sees it, and has no kernels for it, as wheels of CUDA 13 for a GTX 1080."""
    zeros = torch.zeros

    def on(*size, device):
        if torch.device(device).type == kind:
            raise RuntimeError("CUDA error: no kernel image is available\nmore of it")
        return zeros(*size, device=device)

    monkeypatch.setattr(getattr(torch, kind), "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", on)
    assert device_named(None) == torch.device("cpu")
    [line] = caplog.messages
    assert "no kernel image is available); running on the CPU" in line
