"""Float16 weights that leave flat colours what they are."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spanpp_core import bundled_model, checkpoint, load, upscale
from spanpp_core.training.colours import flat_colours

SCRIPT = Path(__file__).parents[2] / "recipes" / "round_to_float16.py"

pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file(), reason="the script is in the repository alone"
)


def shift(state: Mapping[str, torch.Tensor]) -> float:
    """The largest shift of flat colours at x2, in 1/255."""
    colours = flat_colours()[::4]
    flat = colours[:, :, None, None].expand(-1, -1, 44, 44)
    made = upscale(load(state), flat)[..., 42:-42, 42:-42].mean((2, 3))
    return float((made - colours).abs().max()) * 255


def test_flat_colours_stay_what_they_are(tmp_path, monkeypatch):
    random = torch.Generator().manual_seed(0)
    found = replace(checkpoint.read(bundled_model()), repair=1.0)
    state = {
        name: each * (1 + 2e-3 * torch.randn(each.shape, generator=random))
        if name.startswith(("conv0", "conv_2"))
        else each
        for name, each in found.state_dict.items()
    }
    names = [f"{tmp_path}/{name}.safetensors" for name in ("float32", "rounded")]
    checkpoint.write_slim(names[0], replace(found, state_dict=state))
    monkeypatch.setattr("sys.argv", ["round_to_float16", *names])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    made = checkpoint.read(names[1])
    assert (made.repair, made.continuous) == (1, True)
    assert all(
        torch.equal(each, each.half().float())
        for each in made.state_dict.values()
        if each.is_floating_point()
    )
    assert shift(made.state_dict) < 0.12
    assert shift(state) > 0.3


def test_error_feedback_keeps_what_a_layer_makes():
    script = runpy.run_path(str(SCRIPT))
    random = torch.Generator().manual_seed(0)
    few = torch.rand(300, 6, generator=random).double()
    inputs = few @ torch.randn(6, 40, generator=random).double()
    weights = torch.randn(40, 5, generator=random).double()
    made = script["with_error_feedback"](weights, inputs)
    nearest = weights.half().double()
    assert torch.equal(made, made.half().double())
    left, plainly = (inputs @ (each - weights) for each in (made, nearest))
    assert left.norm() < plainly.norm() / 10
