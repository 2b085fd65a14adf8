"""Values outside [0, 1] go through the nodes of a real server."""

from __future__ import annotations

import pytest

from .prompts import load, node, shown, upscale
from .server import ComfyServer


@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_a_ramp_to_8_stays_one_and_the_node_says_so(
    comfy: ComfyServer, factor: float
) -> None:
    prompt = {
        "1": load(),
        "2": node("TestRamp", width=512, top=8.0),
        "3": upscale("1", "2", "factor", **{"size.factor": factor}),
        "4": node("TestRampError", images=["3", 0], width=512, top=8.0),
        "5": shown("4"),
        "6": shown("3", 3),
    }
    entry = comfy.run(prompt)
    above, below = map(float, entry["outputs"]["5"]["text"][0].split())
    print(f"x{factor}: {above:.2%} above 1, {below:.4f} below")
    assert above < 0.01
    assert below < 1.5 / 255
    assert "values from 0 to 8 kept" in entry["outputs"]["6"]["text"][0]
