"""`spanpp upscale`: files in, files and one line out."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from front_door import spanpp
from picture_files import noise, write
from PIL import Image, ImageCms
from tiny import too_large_for_float16

import spanpp_core
from spanpp_core import images
from spanpp_core.batch import upscaler
from spanpp_core.engine import precision

ROOT = Path(spanpp_core.__file__).parents[1]


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


def test_automatic_precision_is_float32_where_the_network_outgrows_float16(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(upscaler, "fastest_dtype", lambda device: torch.float16)
    precision._log_once.cache_clear()
    source = write(tmp_path / "in.png", noise(8, 8, 3, np.uint8))
    torch.save(too_large_for_float16(), tmp_path / "big.pth")
    results = [tmp_path / "auto.png", tmp_path / "fp32.png"]
    for result in results:
        options = ("-m", tmp_path / "big.pth", "--precision", result.stem)
        assert spanpp("upscale", source, "-o", result, *options) == 0
    assert results[0].read_bytes() == results[1].read_bytes()
    assert len(caplog.messages) == 1


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


@pytest.mark.parametrize(("short", "long"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_a_precision_has_two_names(tmp_path, weights, short, long):
    """The field's on command lines, and PyTorch's, which ComfyUI's nodes show."""
    source = tmp_path / "in.png"
    write(source, noise(12, 9, 3, np.uint8))
    for name in (short, long):
        options = ("-m", weights, "-o", tmp_path / f"{name}.png", "--precision", name)
        assert spanpp("upscale", source, *options) == 0
    first, second = ((tmp_path / f"{each}.png").read_bytes() for each in (short, long))
    assert first == second


def test_a_codec_may_be_given_where_there_are_images_only(tmp_path, weights):
    source = tmp_path / "in.png"
    write(source, noise(12, 9, 3, np.uint8))
    options = ("-m", weights, "-o", tmp_path / "out", "--codec", "libx265")
    assert spanpp("upscale", source, *options) == 0


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
    files = (path.relative_to(out) for path in out.rglob("*") if path.is_file())
    written = {path.as_posix() for path in files}
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
    printed, failed = capsys.readouterr()
    for name in ("cut.png", "text.jpg"):
        (line,) = [x for x in failed.splitlines() if name in x]
        assert "damaged or not an image" in line
    assert {Path(x.split(" -> ")[1].split()[0]) for x in printed.splitlines()} == {
        out / name for name in written
    }
    assert Image.open(out / "cmyk.jpg").mode == "RGB"
    assert Image.open(out / "grey.png").mode == "L"
    assert Image.open(out / "rgba.png").mode == "RGBA"


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
@pytest.mark.parametrize("piped", [True, False])
def test_results_go_into_a_pipe_and_bars_to_a_terminal(tmp_path, weights, piped):
    source = write(tmp_path / "in.png", noise(8, 8, 3, np.uint8))
    ours, theirs = os.openpty()
    program = "from spanpp_core.command import main; main()"
    words = ["upscale", source, "-o", tmp_path / "out.png", "-m", weights]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        stdout=subprocess.PIPE if piped else theirs,
        stderr=theirs,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "40"},
        check=True,
    )
    shown = os.read(ours, 2**16) if select.select([ours], [], [], 0)[0] else b""
    line = f"{source} 8x8 -> {tmp_path / 'out.png'} 16x16"
    assert (done.stdout == f"{line}\n".encode()) == piped
    assert (line in shown.decode()) != piped
    assert ("files" in shown.decode()) != piped


def test_existing_results_stay_unless_told(tmp_path, weights, capsys):
    source = write(tmp_path / "in.png", noise(8, 8, 3, np.uint8))
    out = tmp_path / "out.png"
    out.write_bytes(b"precious")
    assert spanpp("upscale", source, "-o", out, "-m", weights) == 0
    assert out.read_bytes() == b"precious"
    assert capsys.readouterr() == (f"{out} exists, left as it is\n", "")
    assert spanpp("upscale", source, "-o", out, "-m", weights, "--overwrite") == 0
    assert Image.open(out).size == (16, 16)


def test_a_stopped_run_says_how_it_goes_on(tmp_path, weights, monkeypatch, capsys):
    first, second = (
        write(tmp_path / f"{i}.png", noise(8, 8, 3, np.uint8)) for i in "ab"
    )
    words = ("upscale", first, second, "-o", tmp_path / "out", "-m", weights)
    with monkeypatch.context() as at_the_second:
        read = images.read

        def stop(path):
            if path == second:
                raise KeyboardInterrupt
            return read(path)

        at_the_second.setattr(images, "read", stop)
        assert spanpp(*words) == 130
    printed, said = capsys.readouterr()
    assert printed.count("\n") == 1
    assert said == "spanpp: stopped; the same command goes on\n"
    assert spanpp(*words) == 0
    assert "a.png exists, left as it is" in capsys.readouterr().out


def test_results_within_the_input_folder_are_not_read_again(tmp_path, weights):
    write(tmp_path / "in.png", noise(8, 8, 3, np.uint8))
    for _ in range(2):
        assert spanpp("upscale", tmp_path, "-o", tmp_path / "big", "-m", weights) == 0
    assert sorted(p.name for p in tmp_path.rglob("*.png")) == ["in.png", "in.png"]


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
