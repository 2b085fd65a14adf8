"""PSNR while a network is trained."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from other_gpu import GPU, OtherGPU
from tiny import training_network

import spanpp_core
from spanpp_core import images
from spanpp_core.training import validation
from spanpp_core.training.initial_network import network_of

PHOTO = images.read(spanpp_core.bundled_photo()).pixels[..., 200:332, 300:432]


def test_the_bundled_weights_are_better_than_bicubic_at_whole_and_fractional_scales():
    network = network_of(spanpp_core.bundled_model(), (1, 2, 3, 4), 0, branches=False)
    scales = [Fraction(3, 2), Fraction(2), Fraction(4)]
    ours = validation.psnr_by_scale(network, [PHOTO], scales)
    bicubic = validation.bicubic_by_scale([PHOTO], scales)
    assert ours.keys() == bicubic.keys() == {"psnr_y/x1.5", "psnr_y/x2", "psnr_y/x4"}
    assert all(ours[name] > bicubic[name] + 0.3 for name in ours)


def test_large_photos_are_measured_tile_by_tile(monkeypatch):
    """A photo as a whole would take a kilobyte a pixel."""
    whole = validation.psnr_by_scale(training_network(), [PHOTO], [Fraction(2)])
    backends = []

    def upscaled(model, low, **options):
        backends.append(model.backend)
        return upscale(model, low, tile=24, **options)

    upscale = validation.upscale
    monkeypatch.setattr(validation, "upscale", upscaled)
    tiles = validation.psnr_by_scale(training_network(), [PHOTO], [Fraction(2)])
    assert backends == ["torch"]
    assert abs(tiles["psnr_y/x2"] - whole["psnr_y/x2"]) < 1e-3


def test_the_network_is_left_as_it_is():
    network = training_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    validation.psnr_by_scale(network, [PHOTO], [Fraction(2)])
    assert all(p.requires_grad for p in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_gpu_without_float64_is_enough():
    """As Apple's: what is measured is brought to main memory first."""
    network, scales = training_network(), [Fraction(3, 2), Fraction(2)]
    expected = validation.psnr_by_scale(network, [PHOTO], scales)
    there = SimpleNamespace(
        conv_cat=SimpleNamespace(weight=SimpleNamespace(device=GPU)),
        fused_state_dict=network.fused_state_dict,
    )
    with OtherGPU():
        found = validation.psnr_by_scale(there, [PHOTO], scales)
    assert found == pytest.approx(expected, abs=1e-3)
