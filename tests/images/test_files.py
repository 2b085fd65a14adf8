"""Image files by whichever library is installed."""

from __future__ import annotations

import numpy as np
import pytest
import pyvips
import torch
from picture_files import noise, write

import spanpp_core
from spanpp_core import images


def test_cmyk_keeps_its_depth(tmp_path):
    pixels = noise(4, 5, 4, np.uint16)
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="cmyk")
    image.write_to_file(str(tmp_path / "cmyk.tif"))
    picture = images.read(tmp_path / "cmyk.tif")
    assert (picture.bits, picture.pixels.shape) == (16, (1, 3, 4, 5))


@pytest.mark.parametrize("count", [5, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_more_channels_than_colours_and_alpha_are_told(tmp_path, dtype, count):
    bands = pyvips.Image.new_from_array(np.zeros((4, 5, count), dtype))
    bands.write_to_file(str(tmp_path / "x.tif"))
    for act in (images.header, images.read):
        with pytest.raises(spanpp_core.ImageError, match=f"x.tif: has {count} channel"):
            act(tmp_path / "x.tif")


def test_a_file_that_changed_is_read_again(tmp_path):
    for value in (0, 255):
        write(tmp_path / "x.png", np.full((4, 4, 3), value, np.uint8))
        assert images.read(tmp_path / "x.png").pixels.unique().tolist() == [value / 255]


def test_images_refuse_what_they_cannot_write(tmp_path):
    picture = images.Picture(torch.rand(1, 3, 4, 4), 8)
    with pytest.raises(spanpp_core.ImageError, match="can write"):
        images.write(tmp_path / "x.bmp", picture)
    with pytest.raises(spanpp_core.ImageError, match="could not be written"):
        images.write(tmp_path / "absent" / "x.png", picture)
    assert list(tmp_path.iterdir()) == []
