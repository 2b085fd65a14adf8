"""`spanpp upscale`: the sizes that people ask for."""

from __future__ import annotations

import numpy as np
import pytest
from front_door import spanpp
from picture_files import noise, write
from PIL import Image


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--scale", 2.5], (20, 40)),
        (["--fit", "30x70"], (30, 60)),
        (["--width", 25], (25, 50)),
        (["--height", 36, "--fractional", "native"], (18, 36)),
        (["--scale", 3, "--tile", 16, "--precision", "bf16"], (24, 48)),
        ([], (16, 32)),
    ],
)
def test_sizes(tmp_path, weights, options, size):
    source = write(tmp_path / "in.png", noise(16, 8, 3, np.uint8))
    out = tmp_path / "out.png"
    assert spanpp("upscale", source, "-o", out, "-m", weights, *options) == 0
    assert Image.open(out).size == size


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--scale", "8/3"], (21, 32)),
        (["--scale", "1.3333"], (11, 16)),
        (["--longer-side", "30"], (20, 30)),
        (["--width", "20", "--height", "20"], (20, 20)),
        (["--scale", "2", "--multiple-of", "8"], (16, 24)),
        (["--megapixels", "0.0006"], (20, 30)),
    ],
)
def test_sizes_people_ask_for(tmp_path, weights, options, size):
    source = write(tmp_path / "in.png", noise(8, 12, 3, np.uint8))
    assert (
        spanpp("upscale", source, "-o", tmp_path / "x.png", "-m", weights, *options)
        == 0
    )
    with Image.open(tmp_path / "x.png") as made:
        assert (made.height, made.width) == size


def test_too_large_for_the_format_is_said_before_the_work(tmp_path, weights, capsys):
    source = write(tmp_path / "wide.png", noise(2, 9000, 3, np.uint8))
    assert spanpp("upscale", source, "-o", tmp_path / "w.webp", "-m", weights) == 1
    assert "at most 16383 pixels" in capsys.readouterr().err
