"""Image files by either library: the same pixels, and clear words where one cannot."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

import spanpp_core
from spanpp_core import images
from spanpp_core.errors import ImageError
from spanpp_core.images import Picture, pillow, vips


def noise(*shape: int, top: int = 255) -> np.ndarray:
    return np.random.default_rng(0).integers(0, top + 1, shape).astype(np.uint8)


def palette(path: Path) -> None:
    Image.fromarray(noise(9, 7, 3)).quantize(16).save(path)


def see_through_palette(path: Path) -> None:
    Image.fromarray(noise(9, 7, 3)).quantize(16).save(path, transparency=3)


def one_bit(path: Path) -> None:
    Image.fromarray(noise(9, 7, top=1) * 255).convert("1").save(path)


def of_mode(mode: str):
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = noise(9, 7, channels)[..., 0] if channels == 1 else noise(9, 7, channels)
    return Image.fromarray(pixels, mode).save


MAKERS = {
    "L.png": of_mode("L"),
    "LA.png": of_mode("LA"),
    "RGB.png": of_mode("RGB"),
    "RGBA.png": of_mode("RGBA"),
    "RGB.webp": of_mode("RGB"),
    "L.tif": of_mode("L"),
    "RGBA.tiff": of_mode("RGBA"),
    "palette.png": palette,
    "see-through.png": see_through_palette,
    "one-bit.png": one_bit,
}


@pytest.mark.parametrize("name", MAKERS)
def test_both_read_the_same_pixels(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    MAKERS[name](path)
    ours, theirs = pillow.read(path), vips.read(path)
    assert pillow.header(path) == vips.header(path)
    assert pillow.header(path).channels == ours.pixels.shape[1]
    assert (ours.pixels - theirs.pixels).abs().max() <= 1 / 255  # WebP decoders differ


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 9, 200])
@pytest.mark.parametrize("library", [pillow, vips])
def test_the_header_says_the_size_that_is_read(
    tmp_path: Path, suffix: str, orientation: int, library: ModuleType
) -> None:
    exif = Image.Exif()
    if library is vips and suffix == ".tif" and orientation not in range(1, 9):
        pytest.skip("libtiff takes such a file for damaged")
    exif[0x0112] = orientation
    path = tmp_path / f"x{suffix}"
    Image.fromarray(noise(10, 16, 3)).save(path, exif=exif)
    says = library.header(path)
    assert library.read(path).pixels.shape == (1, 3, says.height, says.width)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_both_turn_photos_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(16, 24, 3)).resize((48, 32)).save(
        tmp_path / "x.jpg", exif=exif, quality=95
    )
    ours, theirs = pillow.read(tmp_path / "x.jpg"), vips.read(tmp_path / "x.jpg")
    assert pillow.header(tmp_path / "x.jpg") == vips.header(tmp_path / "x.jpg")
    assert (ours.pixels - theirs.pixels).abs().mean() < 1 / 255


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pillow_writes_what_it_reads(
    tmp_path: Path, suffix: str, channels: int
) -> None:
    smooth = torch.linspace(0, 1, 40 * 30).view(1, 1, 40, 30).repeat(1, channels, 1, 1)
    path = tmp_path / f"x{suffix}"
    pillow.write(path, Picture(smooth, 8))
    again = pillow.read(path).pixels
    kept = 3 if suffix == ".webp" and channels < 3 else channels  # WebP has no grey
    if suffix == ".jpg" and channels in (2, 4):  # alpha is laid over black
        smooth = smooth[:, :-1] * smooth[:, -1:]
        kept = channels - 1
    assert again.shape[1] >= kept
    assert (again[:, :1] - smooth[:, :1]).abs().mean() < 0.01
    assert list(tmp_path.iterdir()) == [path]


def test_pillow_keeps_profile_and_exif(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Maker"
    for suffix in (".jpg", ".png", ".webp", ".tif"):
        source, result = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
        Image.fromarray(noise(16, 24, 3)).save(source, exif=exif, icc_profile=profile)
        pillow.write(result, pillow.read(source))
        with Image.open(result) as found:
            assert found.size == (16, 24), suffix
            assert found.getexif().get(0x0112, 1) == 1, suffix
            if suffix != ".tif":  # there they are tags beside those of the size
                assert found.getexif()[0x010F] == "Maker", suffix
            assert found.info["icc_profile"] == profile, suffix


@pytest.mark.parametrize("library", [pillow, vips])
def test_png_files_keep_their_texts(tmp_path: Path, library: ModuleType) -> None:
    """ComfyUI and others store the graph, or the prompt, that made an image there."""
    texts = {"workflow": '{"nodes": []}' * 10_000, "parameters": "cat, steps: 20"}
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    info.add_text("prompt", "猫")
    if library is pillow:  # libvips writes ASCII only
        texts["prompt"] = "猫"
    info.add_text("Raw profile type exif", "what is turned upright has another")
    source, result = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(noise(9, 7, 3)).save(source, pnginfo=info)
    picture = library.read(source)
    library.write(result, picture)
    with Image.open(result) as found:
        assert {name: str(text) for name, text in found.text.items()} == texts
    for suffix in (".jpg", ".webp", ".tif"):
        library.write(result.with_suffix(suffix), picture)
        assert library.read(result.with_suffix(suffix)).pixels.shape == (1, 3, 9, 7)


def test_pillow_reads_cmyk_as_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "x.jpg")
    red, green, blue = pillow.read(tmp_path / "x.jpg").pixels.mean((0, 2, 3))
    assert red < 0.1
    assert green > 0.9
    assert blue > 0.9


@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "grey.png", "float.tif"])
def test_pillow_refuses_what_it_would_round(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "float.tif":
        Image.fromarray(np.zeros((4, 5), np.float32)).save(path)
    else:
        channels = 1 if name == "grey.png" else 3
        deep = torch.rand(1, channels, 4, 5)
        vips.write(path, Picture(deep, 16))
    for act in (pillow.header, pillow.read):
        with pytest.raises(ImageError, match=r"more than 8 bits.*pyvips"):
            act(path)


def test_pillow_refuses_animations_and_broken_files(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(8, 8, 3) + i) for i in range(3)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="3 pages or frames"):
        pillow.header(tmp_path / "moving.webp")
    frames[0].resize((99, 99)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not an image")
    frames[0].save(tmp_path / "x.tif")
    page = bytearray((tmp_path / "x.tif").read_bytes())
    first = int.from_bytes(page[4:8], "little")
    behind = first + 2 + 12 * page[first]
    page[behind] = 1  # another page, which is none
    (tmp_path / "pages.tif").write_bytes(page)
    for name in ("cut.png", "text.jpg", "pages.tif"):
        with pytest.raises(ImageError, match=f"{name}: damaged or not an image"):
            pillow.read(tmp_path / name)
    with pytest.raises(ImageError, match="no such file"):
        pillow.read(tmp_path / "absent.png")
    with pytest.raises(ImageError, match="no such file"):
        pillow.read(tmp_path / "absent")
    (tmp_path / "x.bmp").touch()
    with pytest.raises(ImageError, match="can read"):
        pillow.read(tmp_path / "x.bmp")


def test_pillow_is_used_where_libvips_is_missing(monkeypatch) -> None:
    name = images.__name__
    monkeypatch.setattr(spanpp_core, "images", images)  # as it is behind this test
    for module in [each for each in sys.modules if f"{each}.".startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pyvips", None)
    again = importlib.import_module(name)
    assert again is not images
    assert again.files.library.__name__ == f"{name}.pillow"
