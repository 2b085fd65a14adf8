"""The device to run on: what cannot be used is told, and the fastest is found."""

from __future__ import annotations

import pytest
import torch

import spanpp_core
from spanpp_core import DeviceError
from spanpp_core.devices import device_named


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


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta", -1, ["cpu"]])
def test_a_model_is_not_loaded_to_a_device_that_cannot_be_used(weights, device):
    with pytest.raises(DeviceError, match="cannot be used here") as caught:
        spanpp_core.load(weights, device=device)
    assert "\n" not in str(caught.value)
