"""Files of floating point: what is outside [0, 1] comes out as it went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from front_door import spanpp
from PIL import Image

from spanpp_core import images
from spanpp_core.errors import ImageError, MissingPackageError
from spanpp_core.images import Picture, exr

OpenEXR = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")


def picture(channels: int, bits: int = 32) -> Picture:
    """Values from -0.5 to 8, with alpha in [0, 1]."""
    pixels = torch.linspace(-0.5, 8, channels * 30).reshape(1, channels, 5, 6)
    if channels in (2, 4):
        pixels[:, -1] = torch.linspace(0, 1, 30).reshape(5, 6)
    return Picture(pixels, bits, floating=True)


def linear_ramp(
    path: Path, channels: str, dtype: type, width: int = 96, height: int = 8
) -> np.ndarray:
    """Writes an OpenEXR ramp of linear light from 0 to 8, (height, width) a channel."""
    ramp = np.tile(np.linspace(0, 8, width, dtype=dtype), (height, 1))
    says = {"compression": OpenEXR.PIZ_COMPRESSION, "type": OpenEXR.scanlineimage}
    says["owner"] = "the studio"
    planes = {name: ramp / 8 if name == "A" else ramp for name in channels}
    OpenEXR.File(says, planes).write(str(path))
    return ramp


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".tif", ".exr"])
def test_single_precision_is_written_and_read_as_it_is(
    tmp_path: Path, channels: int, suffix: str
):
    path = tmp_path / f"x{suffix}"
    images.write(path, picture(channels))
    found, back = images.header(path), images.read(path)
    assert (found.height, found.width, found.channels, found.bits) == (
        5,
        6,
        channels,
        32,
    )
    assert back.floating
    torch.testing.assert_close(back.pixels, picture(channels).pixels)


def test_half_precision_stays_half(tmp_path: Path):
    linear_ramp(tmp_path / "x.exr", "RGB", np.float16)
    assert images.read(tmp_path / "x.exr").bits == 16
    images.write(tmp_path / "y.exr", images.read(tmp_path / "x.exr"))
    written = OpenEXR.File(str(tmp_path / "y.exr"))
    assert written.channels()["RGB"].pixels.dtype == np.float16
    assert written.header()["owner"] == "the studio"
    assert written.header()["compression"] == OpenEXR.PIZ_COMPRESSION
    expected = OpenEXR.File(str(tmp_path / "x.exr")).channels()["RGB"].pixels
    np.testing.assert_allclose(written.channels()["RGB"].pixels, expected, rtol=2e-3)


def test_float_becomes_16_bits_in_png_and_8_in_jpeg(tmp_path: Path):
    images.write(tmp_path / "x.png", picture(3))
    images.write(tmp_path / "x.jpg", picture(3))
    assert images.header(tmp_path / "x.png").bits == 16
    assert images.header(tmp_path / "x.jpg").bits == 8
    expected = picture(3).pixels.clamp(0, 1)
    assert (images.read(tmp_path / "x.png").pixels - expected).abs().max() < 1e-4


def test_openexr_is_linear_light_and_everything_else_is_srgb(tmp_path: Path):
    linear_ramp(tmp_path / "x.exr", "RGB", np.float32)
    images.write(tmp_path / "x.png", images.read(tmp_path / "x.exr"))
    middle = images.read(tmp_path / "x.png").pixels[0, 0, 0, 6]  # 6/95 of 8 is 0.505
    assert float(middle) == pytest.approx(
        float(exr.encoded(torch.tensor(48 / 95))), 1e-3
    )


def test_the_inverse_of_the_encoding_is_exact():
    light = torch.linspace(-4, 65504, 100_001, dtype=torch.float64)
    back = exr.linear(exr.encoded(light))
    torch.testing.assert_close(back, light, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("suffix", [".exr", ".tif"])
@pytest.mark.parametrize(("channels", "scale"), [("RGB", 2), ("RGB", 3), ("RGBA", 2)])
def test_a_ramp_to_8_goes_through_the_command(tmp_path, channels, scale, suffix):
    source, target = tmp_path / f"ramp{suffix}", tmp_path / f"big{suffix}"
    ramp = linear_ramp(tmp_path / "ramp.exr", channels, np.float32, height=32)
    if suffix == ".tif":
        planes = [ramp / 8 if name == "A" else ramp for name in channels]
        images.write(source, Picture.of(np.stack(planes, -1), None))
    assert spanpp("upscale", source, "-o", target, "--scale", scale) == 0
    made = images.read(target)
    assert made.pixels.shape == (1, len(channels), 32 * scale, 96 * scale)
    if suffix == ".exr":
        colours, alpha = made.colours_and_alpha()
        made = Picture(torch.cat([exr.linear(colours), alpha])[None], 32)
    columns = (torch.arange(96 * scale) + 0.5) / scale - 0.5
    expected = columns * 8 / 95
    middle = made.pixels[0, :, 10 * scale : 22 * scale]
    error = (middle[:3] - expected).abs().amax((0, 1))
    inner = (columns > 4) & (columns < 91)
    assert float((error / expected)[inner & (expected > 1)].max()) < 0.01
    assert float(error[inner & (expected <= 1)].max()) < 0.015
    if channels == "RGBA":
        assert float((middle[3] - expected / 8)[:, inner].abs().max()) < 0.01


def test_luminance_and_unknown_channels(tmp_path: Path):
    linear_ramp(tmp_path / "y.exr", "Y", np.float32)
    assert images.read(tmp_path / "y.exr").pixels.shape == (1, 1, 8, 96)
    linear_ramp(tmp_path / "z.exr", "Z", np.float32)
    for act in (images.header, images.read):
        with pytest.raises(
            ImageError, match="has the channels Z; expected R, G, B or Y"
        ):
            act(tmp_path / "z.exr")


@pytest.mark.parametrize("whole", "RGB")
def test_whole_numbers_in_any_channel_are_told(tmp_path: Path, whole: str):
    planes = {name: np.ones((4, 5), np.float16) for name in "RGB"}
    planes[whole] = np.ones((4, 5), np.uint32)
    file = OpenEXR.File({"type": OpenEXR.scanlineimage}, planes)
    file.write(str(tmp_path / "x.exr"))
    with pytest.raises(ImageError, match="whole-number channels"):
        images.read(tmp_path / "x.exr")


def test_damaged_and_missing_files_are_one_line(tmp_path: Path):
    linear_ramp(tmp_path / "x.exr", "RGB", np.float32)
    whole = (tmp_path / "x.exr").read_bytes()
    (tmp_path / "cut.exr").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.exr").write_text("not an image")
    for name in ("cut.exr", "text.exr"):
        with pytest.raises(ImageError, match=f"{name}: damaged") as caught:
            images.read(tmp_path / name)
        assert "\n" not in str(caught.value)
    no_text = whole.replace(b"\0G\0", b"\0\xff\0", 1)
    (tmp_path / "names.exr").write_bytes(no_text)
    for act in (images.header, images.read):
        with pytest.raises(ImageError, match="no such file"):
            act(tmp_path / "absent.exr")
        with pytest.raises(ImageError, match=r"names\.exr: damaged"):
            act(tmp_path / "names.exr")


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("spanpp_core.optional.missing", lambda names: ["OpenEXR"])
    with pytest.raises(MissingPackageError, match="OpenEXR images need"):
        images.read(tmp_path / "x.exr")


def test_half_float_tiff_is_read(tmp_path: Path):
    """Written by hand: neither libvips nor Pillow writes this kind."""
    values = np.linspace(0, 8, 12, dtype="<f2").reshape(3, 4)
    tags = {256: 4, 257: 3, 258: 16, 259: 1, 262: 1, 273: 0, 277: 1, 278: 3, 279: 24}
    tags[339] = 3
    tags[273] = 10 + 12 * len(tags) + 4
    entries = b"".join(
        np.array([tag, 3], "<u2").tobytes() + np.array([1, value], "<u4").tobytes()
        for tag, value in tags.items()
    )
    start = (
        b"II*\0"
        + np.array([8], "<u4").tobytes()
        + np.array([len(tags)], "<u2").tobytes()
    )
    path = tmp_path / "half.tif"
    path.write_bytes(start + entries + bytes(4) + values.tobytes())
    np.testing.assert_array_equal(images.read(path).pixels[0, 0], values)


def test_8_bit_images_are_untouched_by_all_this(tmp_path: Path):
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    images.write(tmp_path / "y.png", images.read(tmp_path / "x.png"))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "y.png")), pixels)
