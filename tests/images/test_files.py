"""Image files by whichever library is installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import pyvips
import torch
from picture_files import noise, write
from PIL import Image

import spanpp_core
from spanpp_core import images


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_why_the_disk_refused_is_told(tmp_path, suffix):
    import resource  # noqa: PLC0415

    picture = images.Picture(torch.rand(1, 3, 99, 99), 8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (99, before[1]))
    try:
        with pytest.raises(
            spanpp_core.ImageError, match=r"written \(File too large\)$"
        ):
            images.write(tmp_path / f"out{suffix}", picture)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_animations_and_pages_are_refused(tmp_path, suffix):
    frames = [
        Image.fromarray(noise(8, 8, 3, np.uint8)).rotate(90 * i) for i in range(3)
    ]
    path = tmp_path / f"moving{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(spanpp_core.ImageError, match="has 3 pages or frames"):
        images.header(path)
    frames[0].save(path, save_all=True)
    assert images.header(path).width == 8


@pytest.mark.parametrize("space", ["lab", "labs"])
def test_cielab_becomes_rgb_of_16_bits(tmp_path, space):
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3)).astype(np.uint8)
    rgb = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
    rgb.colourspace(space).tiffsave(str(tmp_path / "lab.tif"))
    picture = images.read(tmp_path / "lab.tif")
    assert (picture.bits, picture.floating) == (16, False)
    expected = torch.from_numpy(pixels).movedim(-1, 0)[None] / 255
    assert (picture.pixels - expected).abs().max() < 2 / 255


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
