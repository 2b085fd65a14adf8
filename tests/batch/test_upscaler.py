"""One file to one file: what goes wrong with it is one line and stops no other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from spanpp_core import Size, SizeError, images
from spanpp_core.batch.pairs import Pair
from spanpp_core.batch.upscaler import UpscaleOptions, Upscaler
from spanpp_core.engine import dynamic_range


@pytest.mark.parametrize(
    ("raise_it", "words"),
    [
        (lambda: np.empty(2**60, np.uint8), "Unable to allocate"),
        (lambda: torch.empty(2**60), "memory"),
        (MemoryError, "MemoryError"),
        (lambda: OSError(28, "No space left on device"), "png: No space left on"),
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
