"""The command through its front door: files in, files and one line out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from front_door import spanpp
from PIL import Image, ImageCms
from tiny import training_network

import spanpp_core
from spanpp_core import images
from spanpp_core.batch import upscaler


def noise(height: int, width: int, channels: int, dtype: type) -> np.ndarray:
    top = np.iinfo(dtype).max
    values = np.random.default_rng(0).integers(0, top + 1, (height, width, channels))
    return values.astype(dtype)


def write(path: Path, pixels: np.ndarray) -> Path:
    kinds = {("uint8", False): "b-w", ("uint8", True): "srgb"}
    kinds |= {("uint16", False): "grey16", ("uint16", True): "rgb16"}
    kind = kinds[pixels.dtype.name, pixels.shape[2] > 2]
    pyvips.Image.new_from_array(pixels).copy(interpretation=kind).write_to_file(
        str(path)
    )
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_files_keep_channels_and_depth(
    tmp_path, weights, suffix, dtype, channels
):
    pixels = noise(9, 7, channels, dtype)
    source = write(tmp_path / f"in{suffix}", pixels)
    assert (
        spanpp("upscale", source, "-o", tmp_path / "out", "-m", weights, "-s", 3) == 0
    )
    result = pyvips.Image.new_from_file(str(tmp_path / "out" / source.name)).numpy()
    result = result.reshape(27, 21, channels)
    assert result.dtype == dtype
    top = np.iinfo(dtype).max
    x = torch.from_numpy(pixels.astype(np.float32) / top).movedim(-1, 0)[None]
    expected = spanpp_core.upscale(spanpp_core.load(weights).at_scale(3), x)
    expected = expected[0].movedim(0, -1).mul(top).round().numpy()
    assert np.abs(result - expected).max() <= 1


@pytest.mark.parametrize(
    ("dtype", "expected"), [(np.uint8, torch.bfloat16), (np.uint16, torch.float32)]
)
def test_automatic_precision_is_of_the_device_for_8_bits_only(
    tmp_path, weights, monkeypatch, dtype, expected
):
    seen = []
    monkeypatch.setattr(upscaler, "fastest_dtype", lambda device: torch.bfloat16)
    run = upscaler.prepare

    def watched(model, *arguments, **settings):
        seen.append(model.dtype)
        return run(model, *arguments, **settings)

    monkeypatch.setattr(upscaler, "prepare", watched)
    source = write(tmp_path / "in.png", noise(8, 8, 3, dtype))
    assert spanpp("upscale", source, "-o", tmp_path / "out.png", "-m", weights) == 0
    assert seen == [expected]


def test_the_backend_is_the_one_asked_for(tmp_path, weights, monkeypatch):
    seen = []
    run = upscaler.prepare

    def watched(model, *arguments, **settings):
        seen.append(model)
        return run(model, *arguments, **settings)

    monkeypatch.setattr(upscaler, "prepare", watched)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        write(folder / name, noise(8, 8, 3, np.uint8))
    options = ["-m", weights, "--backend", "torch", "--precision", "bf16"]
    assert spanpp("upscale", folder, "-o", tmp_path / "out", *options) == 0
    assert [model.backend for model in seen] == ["torch"] * 2
    assert seen[0].backends is seen[1].backends, "each compiles its own"


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".jpeg", ".tiff"])
def test_every_format_goes_through(tmp_path, weights, suffix):
    source = tmp_path / f"in{suffix}"
    Image.fromarray(noise(16, 12, 3, np.uint8)).save(source)
    assert (
        spanpp("upscale", source, "-o", tmp_path / f"out{suffix}", "-m", weights) == 0
    )
    assert Image.open(tmp_path / f"out{suffix}").size == (24, 32)


def test_orientation_is_applied_and_profile_and_exif_kept(tmp_path, weights):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to show
    exif[0x010F] = "Maker"
    source = tmp_path / "in.jpg"
    Image.fromarray(noise(16, 24, 3, np.uint8)).save(
        source, exif=exif, icc_profile=profile
    )
    out = tmp_path / "out.jpg"
    assert spanpp("upscale", source, "-o", out, "-m", weights) == 0
    result = Image.open(out)
    assert result.size == (32, 48)
    assert result.getexif().get(0x0112, 1) == 1
    assert result.getexif()[0x010F] == "Maker"
    assert result.info["icc_profile"] == profile


def test_folder_of_good_and_bad_files(tmp_path, weights, capsys):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    write(folder / "rgb.png", noise(8, 8, 3, np.uint8))
    write(folder / "rgba.png", noise(8, 8, 4, np.uint8))
    write(folder / "deep.png", noise(8, 8, 3, np.uint16))
    write(folder / "grey.png", noise(8, 8, 1, np.uint8))
    write(folder / "sub" / "below.png", noise(8, 8, 3, np.uint8))
    Image.fromarray(noise(8, 8, 4, np.uint8), "CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(noise(8, 8, 3, np.uint8)).quantize(16).save(folder / "palette.png")
    whole = write(folder / "whole.png", noise(64, 64, 3, np.uint8)).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("not an image")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "folder.png").mkdir()
    write(folder / "name[bold].png", noise(8, 8, 3, np.uint8))
    (folder / "notes.txt").write_text("left alone")
    out = tmp_path / "out"
    assert spanpp("upscale", folder, "-o", out, "-m", weights, "-s", 2) == 1
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert written == {
        "rgb.png",
        "rgba.png",
        "deep.png",
        "grey.png",
        "sub/below.png",
        "cmyk.jpg",
        "palette.png",
        "whole.png",
        "name[bold].png",
    }
    reported = capsys.readouterr().err
    for name in ("cut.png", "text.jpg"):
        (line,) = [x for x in reported.splitlines() if name in x]
        assert "damaged or not an image" in line
    assert "name[bold].png" in reported
    assert Image.open(out / "cmyk.jpg").mode == "RGB"
    assert Image.open(out / "grey.png").mode == "L"
    assert Image.open(out / "rgba.png").mode == "RGBA"


def test_cmyk_keeps_its_depth(tmp_path):
    pixels = noise(4, 5, 4, np.uint16)
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="cmyk")
    image.write_to_file(str(tmp_path / "cmyk.tif"))
    picture = images.read(tmp_path / "cmyk.tif")
    assert (picture.bits, picture.pixels.shape) == (16, (1, 3, 4, 5))


def test_a_file_that_changed_is_read_again(tmp_path):
    for value in (0, 255):
        write(tmp_path / "x.png", np.full((4, 4, 3), value, np.uint8))
        assert images.read(tmp_path / "x.png").pixels.unique().tolist() == [value / 255]


def test_too_large_for_the_format_is_said_before_the_work(tmp_path, weights, capsys):
    source = write(tmp_path / "wide.png", noise(2, 9000, 3, np.uint8))
    assert spanpp("upscale", source, "-o", tmp_path / "w.webp", "-m", weights) == 1
    assert "at most 16383 pixels" in capsys.readouterr().err


def test_existing_results_stay_unless_told(tmp_path, weights, capsys):
    source = write(tmp_path / "in.png", noise(8, 8, 3, np.uint8))
    out = tmp_path / "out.png"
    out.write_bytes(b"precious")
    assert spanpp("upscale", source, "-o", out, "-m", weights) == 0
    assert out.read_bytes() == b"precious"
    assert "left as it is" in capsys.readouterr().err
    assert spanpp("upscale", source, "-o", out, "-m", weights, "--overwrite") == 0
    assert Image.open(out).size == (16, 16)


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


def test_results_within_the_input_folder_are_not_read_again(tmp_path, weights):
    write(tmp_path / "in.png", noise(8, 8, 3, np.uint8))
    for _ in range(2):
        assert spanpp("upscale", tmp_path, "-o", tmp_path / "big", "-m", weights) == 0
    assert sorted(p.name for p in tmp_path.rglob("*.png")) == ["in.png", "in.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["upscale", "in.png", "-o", "x", "-s", "9"], "9 times the input"),
        (["upscale", "in.png", "-o", "x", "-s", "nan"], "is not a factor"),
        (["upscale", "in.png", "-o", "x", "--fit", "0x9"], "3840x2160"),
        (["upscale", "in.png", "-o", "x", "--width", "0"], "--width"),
        (["upscale", "in.png", "-o", "x", "--width", "99"], "largest possible scale"),
        (["upscale", "in.png", "-o", "x", "--device", "meta"], "the device meta"),
        (["upscale", "in.png", "-o", "in.txt"], "is a file"),
        (["upscale", "in.png", "in.txt", "-o", "x.png"], "give a folder"),
        (["upscale", "empty", "-o", "x"], "no images or videos in empty"),
        (["upscale", "in.png", "-o", "in.png", "--overwrite"], "replace itself"),
        (["upscale", "two.tif", "-o", "x"], "has 2 pages"),
        (["upscale", "[b].png", "-o", "x"], "[b].png: no such file"),
        (
            ["upscale", "in.png", "-o", "x", "-s", "2", "--width", "9"],
            "factor and width",
        ),
        (["upscale", "in.png", "-o", "x", "--fit", "big"], "3840x2160"),
        (["upscale", "in.png", "-o", "x", "-m", "none.pth"], "no such file"),
        (["upscale", "in.png", "-o", "x", "--device", "cuda:99"], "the device cuda:99"),
        (["upscale", "in.png"], "--out"),
        (["upscale", "in.png", "sub/in.png", "-o", "x"], "two folders"),
        (["info", "in.png"], "expected one of"),
        (["export", "none.pth", "-o", "x"], "no such file"),
        (["upscale", "in.png", "-o", "x", "--repair", "1.5"], "from 0 (clean) to 1"),
        (["upscale", "in.png", "-o", "x", "-r", "1", "-m", "m.pth"], "m_repair.pth"),
        (["nonsense"], "nonsense"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    pixels = noise(8, 8, 3, np.uint8)
    for folder in ("sub", "empty"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "in.png", pixels)
    write(tmp_path / "sub" / "in.png", pixels)
    (tmp_path / "in.txt").write_text("text")
    torch.save(training_network().state_dict(), tmp_path / "m.pth")
    page = Image.fromarray(pixels)
    page.save(tmp_path / "two.tif", save_all=True, append_images=[page])
    assert spanpp(*arguments) in (1, 2)
    reported = capsys.readouterr().err.strip()
    assert message in reported
    assert reported.startswith("spanpp: ")
    assert "\n" not in reported


def test_info(weights, capsys):
    assert spanpp("info", weights, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "training"
    assert facts["scales"] == [1, 2, 3, 4]
    assert facts["channels"] == 4
    assert facts["repair"] == 0
    assert facts["repair_file"] is None
    assert spanpp("info") == 0
    assert "SpanPP" in capsys.readouterr().out


def test_repair_files_beside_are_told(clean_file, capsys):
    assert spanpp("info", clean_file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["repair_file"].endswith(
        "_repair.safetensors"
    )


def test_upscale_and_export_take_a_repair_strength(tmp_path, clean_file):
    source = write(tmp_path / "in.png", noise(9, 7, 3, np.uint8))
    for strength in (0, 0.5, 1):
        model = spanpp_core.load(clean_file, repair=strength)
        result = tmp_path / f"{strength}.png"
        chosen = ("-m", clean_file, "--repair", strength)
        words = ("-o", result, *chosen, "--precision", "fp32")
        assert spanpp("upscale", source, *words) == 0
        expected = spanpp_core.upscale(model, images.read(source).pixels)
        difference = images.read(result).pixels - expected
        assert difference.abs().max() <= 0.5 / 255 + 1e-6
        words = ("-o", tmp_path / "slim", "-f", "safetensors", "--name", strength)
        assert spanpp("export", clean_file, "--repair", strength, *words) == 0
        made = spanpp_core.load(tmp_path / "slim" / f"{strength}_slim.safetensors")
        assert made.repair == strength
        x = torch.rand(1, 3, 8, 8)
        assert torch.equal(made(x), model(x))


def test_slim_files_are_smaller_and_give_the_same_pictures(tmp_path, weights, capsys):
    words = ("export", weights, "-o", tmp_path, "-f", "safetensors", "--name", "mine")
    assert spanpp(*words, "--precision", "fp16") == 0
    slim = tmp_path / "mine_slim_fp16.safetensors"
    assert slim.stat().st_size < weights.stat().st_size
    x = torch.rand(1, 3, 8, 8)
    difference = spanpp_core.load(slim)(x) - spanpp_core.load(weights)(x)
    assert difference.abs().max() < 0.05
    assert spanpp(*words, "--precision", "fp16") == 2
    assert "--overwrite" in capsys.readouterr().err


def test_demo_writes_the_comparison(tmp_path, capsys):
    assert spanpp("demo", "-o", tmp_path / "demo") == 0
    written = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"comparison.png", "spanpp_x1.5.png", "spanpp_x4.png"} <= written
    assert "repair.png" in written
    gains = [
        float(word)
        for line in capsys.readouterr().out.splitlines()
        for word in line.replace("│", " ").split()
        if word.startswith("+")
    ]
    assert len(gains) == 5
    assert min(gains) > 0.5, "SpanPP should beat bicubic on the bundled photo"


def test_images_refuse_what_they_can_not_write(tmp_path):
    picture = images.Picture(torch.rand(1, 3, 4, 4), 8)
    with pytest.raises(spanpp_core.ImageError, match="can write"):
        images.write(tmp_path / "x.bmp", picture)
    with pytest.raises(spanpp_core.ImageError, match="could not be written"):
        images.write(tmp_path / "absent" / "x.png", picture)
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_one_line_and_debug_shows_where_it_arose(monkeypatch, capsys):
    def broken(path: Path) -> None:
        raise KeyError("weight")

    monkeypatch.setattr("spanpp_core.command.info.describe", broken)
    assert spanpp("info") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "KeyError" in line
    assert "--debug" in line
    assert spanpp("info", "--debug") == 2
    assert "in broken" in capsys.readouterr().err


def test_debug_shows_where_a_file_failed(tmp_path, weights, caplog):
    assert spanpp("--debug", "upscale", tmp_path / "none.png", "-o", tmp_path) == 1
    assert any(record.exc_info for record in caplog.records)


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
