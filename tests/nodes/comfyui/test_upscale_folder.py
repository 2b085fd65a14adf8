"""Upscale Folder without a host: what it writes, leaves, lists, and never touches."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in_host import Host, Interrupted


def photo(path: Path, width: int = 12, height: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def photos(host: Host, tmp_path: Path) -> Path:
    host.output.mkdir()
    for name in ("a.png", "b.png", "sub/c.png"):
        photo(tmp_path / "input" / "photos" / name)
    return tmp_path / "input" / "photos"


def run(host: Host, folder: str = "input/photos", **more: Any) -> str:
    (summary,) = execute(host, folder, **more).values
    return summary


def execute(
    host: Host, folder: str = "input/photos", scale: float = 2, **more: Any
) -> Any:
    model = host.node("SpanPPLoadModel").execute("bundled").values[0].at_scale(scale)
    newer = "search_aliases" in vars(host.node("SpanPPUpscale").define_schema())
    size, values = more.pop("size", "model scale"), more.pop("values", {})
    if newer:
        picked = {"size": {"size": size, **values}}
    else:
        picked = {"size": size, **{f"size.{k}": v for k, v in values.items()}}
    given = {"output_folder": "", "overwrite": False, "precision": "auto"}
    arguments = {**given, **picked, **more}
    node = host.node("SpanPPUpscaleFolder")
    return node.execute(model, folder, **arguments)


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.relative_to(folder).as_posix(): Image.open(path).size
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_image_is_written_where_it_was(host: Host, photos: Path) -> None:
    assert run(host) == "3 upscaled → output/photos-x2"
    made = sizes(host.output / "photos-x2")
    assert made == dict.fromkeys(("a.png", "b.png", "sub/c.png"), (24, 20))
    assert host.memory_asked
    done, total, _ = host.progress[-1]
    assert done == total


def test_the_time_left_is_that_of_files_that_were_made(
    host: Host, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(host)
    for name in ("b.png", "sub/c.png"):
        (host.output / "photos-x2" / name).unlink()
    photo(photos / "sub" / "d.png")
    host.texts.clear()
    clock = SimpleNamespace(monotonic=itertools.count(step=30).__next__)
    module = sys.modules[f"{host.pack.__name__}.nodes.comfyui.progress"]
    monkeypatch.setattr(module, "time", clock)
    assert run(host) == "3 upscaled, 1 already there → output/photos-x2"
    assert [text for _, text in host.texts] == [
        "1 of 4 · a.png",
        "2 of 4 · b.png",
        "3 of 4 · 0:01:00 left · sub/c.png",
        "4 of 4 · 0:00:30 left · sub/d.png",
        "4 of 4",
    ]


def test_what_comfyui_can_evict_counts_as_free(
    host: Host, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = host.pack.__name__
    module = sys.modules[f"{pack}.nodes.comfyui.upscale_folder"]
    resized = sys.modules[f"{pack}.spanpp_core.engine.resized"]
    tiles: list[int] = []
    made = resized.upscale_tiled

    def noting(model: Any, image: Any, tile: int, *more: Any, **named: Any) -> Any:
        tiles.append(tile)
        return made(model, image, tile, *more, **named)

    monkeypatch.setattr(module, "bring_to_device", lambda model, memory: 1)
    monkeypatch.setattr(resized, "upscale_tiled", noting)
    photo(photos / "d.png", 60, 40)
    run(host)
    assert sorted(tiles) == [12, 12, 12, 16], "the smallest tile, or the whole image"


def test_the_pixels_are_those_of_upscale(host: Host, photos: Path) -> None:
    run(host, precision="float32", output_folder="mine")
    image = torch.from_numpy(np.asarray(Image.open(photos / "a.png")) / 255).float()
    model = host.node("SpanPPLoadModel").execute("bundled").values[0]
    expected = host.core.upscale(model, image.movedim(-1, 0)[None])[0].movedim(0, -1)
    made = np.asarray(Image.open(host.output / "mine" / "a.png"))
    assert np.abs(made - expected.mul(255).round().numpy()).max() <= 1


def test_a_stopped_run_goes_on(host: Host, photos: Path) -> None:
    host.interrupt_after = 4
    with pytest.raises(Interrupted):
        run(host)
    made = {p: p.stat().st_mtime_ns for p in (host.output / "photos-x2").rglob("*.png")}
    assert 0 < len(made) < 3
    host.interrupt_after = None
    summary = run(host)
    assert summary.startswith(f"{3 - len(made)} upscaled, {len(made)} already there")
    for path, time in made.items():
        assert path.stat().st_mtime_ns == time


def test_overwrite_makes_them_anew(host: Host, photos: Path) -> None:
    run(host)
    (host.output / "photos-x2" / "a.png").write_bytes(b"old")
    assert run(host, overwrite=True).startswith("3 upscaled →")
    assert sizes(host.output / "photos-x2")["a.png"] == (24, 20)


def test_bad_files_are_listed_and_skipped(host: Host, photos: Path) -> None:
    (photos / "broken.png").write_bytes((photos / "a.png").read_bytes()[:60])
    for i in range(5):
        (photos / f"text{i}.jpg").write_text("not an image")
    summary = run(host)
    assert summary.startswith("3 upscaled, 6 failed → output/photos-x2\nbroken.png: ")
    assert "damaged or not an image" in summary
    assert summary.count("\n") == 6
    assert str(photos) not in summary
    assert host.texts[-1][1] == "9 of 9"
    shown = execute(host).ui["text"][0]
    assert (
        shown.splitlines()[0]
        == "0 upscaled, 3 already there, 6 failed → output/photos-x2"
    )
    assert shown.splitlines()[4:] == ["and 3 more, see the log"]


def test_all_failing_is_an_error(host: Host, photos: Path) -> None:
    for path in photos.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="no image could be upscaled: 0 upscaled, 3"):
        run(host)


@pytest.mark.parametrize(
    ("size", "values", "name", "longest"),
    [
        ("fit inside", {"width": 18, "height": 99}, "photos-fit-18x99", 18),
        ("longer side", {"longer_side": 30}, "photos-longer-side-30", 30),
        ("factor", {"factor": 1.5}, "photos-x1.5", 18),
    ],
)
def test_folders_are_named_after_the_size(
    host: Host, photos: Path, size: str, values: dict[str, Any], name: str, longest: int
) -> None:
    run(host, size=size, values=values)
    assert max(sizes(host.output / name)["a.png"]) == longest


def test_folders_of_one_name_do_not_share_their_results(
    host: Host, photos: Path, tmp_path: Path
) -> None:
    for year in ("2025", "2026"):
        photo(tmp_path / "input" / year / "photos" / "a.png")
        summary = run(host, f"input/{year}/photos")
        assert summary == f"1 upscaled → output/{year}/photos-x2"


def test_folders_are_offered_below_input_and_output(host: Host, photos: Path) -> None:
    (host.output / "frames").mkdir()
    (photos / ".hidden").mkdir()
    assert offered(host) == [
        *("input", "input/photos", "input/photos/sub"),
        *("output", "output/frames"),
    ]


def offered(host: Host) -> list[str]:
    schema = host.node("SpanPPUpscaleFolder").define_schema()
    (folder,) = [each for each in schema.inputs if each.id == "folder"]
    return folder.options["options"]


def test_folders_are_read_again_only_where_something_changed(
    host: Host, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ComfyUI asks for the list on every page load, and several times for a run."""
    folders = sys.modules[f"{host.pack.__name__}.nodes.comfyui.allowed_folders"]
    for folder in (photos.parent, photos, photos / "sub", host.output):
        os.utime(folder, (1e9, 1e9))
    before = offered(host)
    read: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(
        folders.os, "scandir", lambda path: read.append(path) or scandir(path)
    )
    assert offered(host) == before
    assert not read
    (photos / "new").mkdir()
    assert offered(host) == [*before[:2], "input/photos/new", *before[2:]]
    assert [Path(each) for each in read] == [photos, photos / "new"]
    assert "input/photos/new" in offered(host), "changed just now: read once more"


def test_a_thousand_folders_are_offered_and_all_others_accepted(
    host: Host, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = sys.modules[f"{host.pack.__name__}.nodes.comfyui.allowed_folders"]
    monkeypatch.setattr(folders, "MOST_LISTED", 2)
    assert offered(host) == ["input", "input/photos", "output"]
    node = host.node("SpanPPUpscaleFolder")
    assert node.validate_inputs(folder="input/photos/sub") is True
    assert node.validate_inputs() is True, "it comes by a link"
    newer = {"folder": "input/photos", "size": {"size": "factor", "factor": 2.0}}
    assert node.validate_inputs(**newer) is True, "newer hosts pass the size as well"
    assert "no folder 'input/gone'; refresh" in node.validate_inputs("input/gone")
    assert "leads out" in node.validate_inputs("input/../..")
    assert run(host, "input/photos/sub") == "1 upscaled → output/photos/sub-x2"


@pytest.mark.parametrize(
    "folder",
    ["..", "input/..", "input/../..", "input//etc", "/etc", "temp", "", "input/absent"],
)
def test_folders_outside_are_not_read(host: Host, photos: Path, folder: str) -> None:
    photo(photos.parents[1] / "secret.png")
    with pytest.raises(ValueError, match="folder"):
        run(host, folder)
    assert not sizes(host.output)


def test_links_to_the_outside_are_not_followed(
    host: Host, photos: Path, tmp_path: Path
) -> None:
    secret = photo(tmp_path / "elsewhere" / "secret.png")
    (photos / "link.png").symlink_to(secret)
    (photos / "loop.png").symlink_to(photos / "loop.png")
    (photos / "folder").symlink_to(secret.parent)
    with pytest.raises(ValueError, match="leads out"):
        run(host, "input/photos/folder")
    summary = run(host)
    assert "link.png: links to a file outside" in summary
    made = sizes(host.output / "photos-x2")
    assert set(made) == {"a.png", "b.png", "sub/c.png"}


@pytest.mark.parametrize("name", ["..", "../x", "/absolute", "."])
def test_results_stay_in_the_output_folder(host: Host, photos: Path, name: str) -> None:
    with pytest.raises(ValueError, match="leads out of ComfyUI's output folder"):
        run(host, output_folder=name)


def test_results_do_not_follow_links(host: Host, photos: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (host.output / "mine").mkdir()
    (host.output / "mine" / "sub").symlink_to(elsewhere)
    summary = run(host, output_folder="mine")
    assert "sub/c.png: its result would be written outside" in summary
    assert not list(elsewhere.iterdir())


def test_images_never_replace_themselves(host: Host, photos: Path) -> None:
    before = photo(host.output / "frames" / "a.png").read_bytes()
    with pytest.raises(ValueError, match="would replace the images"):
        run(host, "output/frames", output_folder="frames", overwrite=True)
    assert (host.output / "frames" / "a.png").read_bytes() == before
    assert run(host, "output") == "1 upscaled → output/output-x2"
    again = run(host, "output")
    assert again == "0 upscaled, 1 already there → output/output-x2", "its own results"


def test_videos_are_left_to_upscale_video(host: Host, photos: Path) -> None:
    (photos / "clip.mp4").write_bytes(b"")
    assert run(host).startswith("3 upscaled →")
    for path in photos.rglob("*.png"):
        path.unlink()
    with pytest.raises(ValueError, match="videos only"):
        run(host)


def test_it_runs_whenever_it_is_queued(host: Host) -> None:
    given = host.node("SpanPPUpscaleFolder").fingerprint_inputs(folder="input")
    assert given != given  # noqa: PLR0124
