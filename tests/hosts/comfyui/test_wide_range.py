"""Values outside [0, 1] go through the nodes of a real server."""

from __future__ import annotations

import numpy as np
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
    assert below < 3 / 255
    assert "values from 0 to 8 kept" in entry["outputs"]["6"]["text"][0]


def test_an_openexr_file_keeps_its_highlights_from_file_to_file(
    comfy: ComfyServer,
) -> None:
    """The host's loader clips half precision and widths that 32 does not divide."""
    openexr = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")
    if "SaveImageAdvanced" not in comfy.get("/object_info"):
        pytest.skip("this ComfyUI does not save OpenEXR")
    ramp = np.tile(np.linspace(0, 8, 512, dtype=np.float32), (32, 1))
    source = comfy.base / "input" / "ramp.exr"
    says = {"type": openexr.scanlineimage}
    openexr.File(says, dict.fromkeys("RGB", ramp)).write(str(source))
    kind = {"format": "exr", "format.bit_depth": "32-bit float"}
    kind["format.input_color_space"] = "linear"
    prompt = {
        "1": load(),
        "2": node("LoadImage", image="ramp.exr"),
        "3": upscale("1", "2"),
        "4": node("SaveImageAdvanced", images=["3", 0], filename_prefix="hdr", **kind),
    }
    (path,) = comfy.saved_files(comfy.run(prompt), "4")
    written = openexr.File(str(path), separate_channels=True).channels()
    expected = (np.arange(1024) / 2 - 0.25) * 8 / 511
    above = (expected > 1) & (np.arange(1024) < 1014)
    for name in "RGB":
        error = np.abs(written[name].pixels[24:40] - expected) / expected
        assert error[:, above].max() < 0.01
