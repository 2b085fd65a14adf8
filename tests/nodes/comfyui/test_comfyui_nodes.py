"""The nodes' own logic, without a host: what they pass on and what they refuse."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spandrel
import torch
from stand_in_host import PACK, Host, Interrupted, LatentPreviewMethod
from tiny import fine_tuned

NODES = (
    "SpanPPLoadModel",
    "SpanPPSetScale",
    "SpanPPUpscale",
    "SpanPPUpscaleVideo",
    "SpanPPUpscaleFolder",
    "SpanPPCompare",
    "SpanPPModelInfo",
    "SpanPPSaveSlim",
    "SpanPPExport",
    "SpanPPDemoPhoto",
)


def is_newer(host: Host) -> bool:
    return "search_aliases" in vars(host.node("SpanPPUpscale").define_schema())


def picked(host: Host, choice: str, option: str, **values: Any) -> dict[str, Any]:
    """The arguments by which a host passes a choice and its nested values."""
    if is_newer(host):
        return {choice: {choice: option, **values}}
    return {choice: option, **{f"{choice}.{name}": v for name, v in values.items()}}


def load(host: Host) -> Any:
    return host.node("SpanPPLoadModel").execute("bundled").values[0]


_loaded: dict[str, Any] = {}


def load_once(host: Host) -> Any:
    """For tests that bind many scales and change nothing."""
    return _loaded.setdefault(host.pack.__name__, load(host))


def upscale(host: Host, model: Any, image: torch.Tensor, **more: Any) -> Any:
    arguments = {"precision": "float32", "method": "downscale", **more}
    if "size" not in arguments:
        arguments |= picked(host, "size", "model scale")
    return host.node("SpanPPUpscale").execute(model, image, **arguments)


def images(n: int = 1, height: int = 20, width: int = 24, channels: int = 3):
    return torch.rand(
        n, height, width, channels, generator=torch.Generator().manual_seed(1)
    )


def to_bytes(image: torch.Tensor) -> np.ndarray:
    return image.mul(255).round().byte().numpy()


def test_the_entry_point_gives_every_node_and_registers_the_architecture(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = spandrel.ArchRegistry()
    monkeypatch.setattr(host.core.descriptor, "MAIN_REGISTRY", registry)
    extension = asyncio.run(host.pack.comfy_entrypoint())
    names = [node.__name__ for node in asyncio.run(extension.get_node_list())]
    assert names == list(NODES)
    assert "SpanPP" in registry
    assert (PACK / host.pack.WEB_DIRECTORY).is_dir()


@pytest.mark.parametrize("name", NODES)
def test_ids_are_unique_and_every_socket_has_a_tooltip(host: Host, name: str) -> None:
    schema = host.node(name).define_schema()
    assert schema.node_id == name
    ids = [each.id for each in (*schema.inputs, *schema.outputs)]
    assert len(set(ids)) == len(ids), "older hosts take inputs and outputs together"
    for each in (*schema.inputs, *schema.outputs):
        assert each.options["tooltip"], each.id


@pytest.mark.parametrize("name", NODES)
def test_english_texts_are_those_of_the_schema(host: Host, name: str) -> None:
    schema = host.node(name).define_schema()
    path = PACK / "locales" / "en" / "nodeDefs.json"
    texts = json.loads(path.read_text("utf-8"))[name]
    assert texts["display_name"] == schema.display_name
    assert texts["description"] == schema.description
    for i, each in enumerate(schema.outputs):
        assert texts["outputs"][str(i)]["name"] == each.options["display_name"]
        assert texts["outputs"][str(i)]["tooltip"] == each.options["tooltip"]
    for each in schema.inputs:
        if "." not in each.id:  # older hosts say there which option uses it
            text = texts["inputs"][each.id]
            assert text["tooltip"] == each.options["tooltip"]


@pytest.mark.parametrize("language", ["en", "zh", "ja"])
@pytest.mark.parametrize("name", NODES)
def test_locales_and_help_cover_every_socket(
    host: Host, name: str, language: str
) -> None:
    schema = host.node(name).define_schema()
    path = PACK / "locales" / language / "nodeDefs.json"
    texts = json.loads(path.read_text("utf-8"))[name]
    expected = set()
    for each in schema.inputs:
        expected.add(each.id.replace(".", "_"))
        for option in each.options.get("options", []):
            for nested in getattr(option, "inputs", []):
                expected.add(f"{each.id}_{nested.id}")
    assert set(texts["inputs"]) == expected
    assert not [
        text["name"] for text in texts["inputs"].values() if "_" in text["name"]
    ]
    assert set(texts.get("outputs", {})) == {str(i) for i in range(len(schema.outputs))}
    page = PACK / "web" / "docs"
    page /= f"{name}.md" if language == "en" else f"{name}/{language}.md"
    lines = page.read_text("utf-8")
    for text in (*texts["inputs"].values(), *texts.get("outputs", {}).values()):
        assert text["tooltip"] in lines, f"{page} does not explain {text['name']!r}"


@pytest.mark.parametrize("name", NODES)
def test_nodes_are_found_in_three_languages(host: Host, name: str) -> None:
    schema = host.node(name).define_schema()
    if not is_newer(host) or schema.is_deprecated:
        return
    english = [alias for alias in schema.search_aliases if alias.isascii()]
    assert len(english) >= 2
    assert len(schema.search_aliases) - len(english) >= 2


def test_loading_attaches_a_patcher_that_views_carry(host: Host) -> None:
    model = load(host)
    node = host.node("SpanPPSetScale")
    view, scale = node.execute(model, 3.0).values
    assert model.patcher.model is model.model
    assert view.patcher is model.patcher
    assert (view.scale, scale, model.scale) == (3, 3.0, 2)


@pytest.mark.parametrize(
    ("typed", "scale"),
    [
        (2.6667, 2.6667),
        (3, 3),
        ("8/3", 8 / 3),
        ("x2", 2),
        ("2,5", 2.5),
        ("1.3333", 1.3333),
    ],
)
def test_set_scale_takes_any_number(host: Host, typed: object, scale: float) -> None:
    node = host.node("SpanPPSetScale")
    view, number = node.execute(load(host), typed).values
    assert number == scale
    (info,) = host.node("SpanPPModelInfo").execute(view).values
    assert f"scale: x{scale:.6g}" in info
    assert node.validate_inputs(scale=typed) is True


@pytest.mark.parametrize("typed", ["two", "0", "-1", ""])
def test_what_is_no_scale_is_refused_before_it_runs(host: Host, typed: str) -> None:
    assert "is not a factor" in host.node("SpanPPSetScale").validate_inputs(scale=typed)


@pytest.mark.parametrize(
    ("saved", "scale"), [({"scale.factor": 2.75}, 2.75), ({}, 2.5)]
)
def test_set_scale_runs_prompts_of_when_it_was_a_list(
    host: Host, saved: dict[str, float], scale: float
) -> None:
    host.prompt["7"] = {"inputs": {"scale": "custom", **saved}}
    node = host.node("SpanPPSetScale")
    assert node.validate_inputs(scale="custom") is True
    assert node.execute(load(host), "custom").values[1] == scale
    assert node.execute(load(host), "custom", **{"scale.factor": 3.5}).values[1] == 3.5


def test_other_nodes_get_a_scale_at_which_tiles_meet(host: Host) -> None:
    node = host.node("SpanPPSetScale")
    for percent in (*range(100, 801, 3), 133, 133.33, 266.67, 333):
        view, _ = node.execute(load_once(host), percent / 100).values
        scale = view.scale
        assert abs(scale - percent / 100) <= 1 / 480 + 1e-9
        for width in range(513, 2000):
            last = (width - 33) // 480 * 480  # as ComfyUI places its tiles
            end = round(last * scale) + round((width - last) * scale)
            assert end == round(width * scale), (
                f"a gap at x{scale}, {width} pixels wide"
            )
    assert ("7", "x1.33; other nodes get x1.32917") in host.texts


def test_our_nodes_run_the_very_scale(host: Host) -> None:
    view, _ = host.node("SpanPPSetScale").execute(load(host), 1.33).values
    assert view.scale == pytest.approx(319 / 240)
    assert upscale(host, view, images(1, 20, 1000)).values[1] == 1330


@pytest.mark.parametrize(
    ("scale", "error"), [(4 / 3, "leave gaps"), (1.5, "simulated")]
)
def test_no_tiles_that_do_not_meet_after_memory_ran_out(
    host: Host, monkeypatch: pytest.MonkeyPatch, scale: float, error: str
) -> None:
    def fails(self: object, x: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("simulated")

    view, _ = host.node("SpanPPSetScale").execute(load(host), scale).values
    monkeypatch.setattr(type(view.model), "features", fails)
    with pytest.raises((ValueError, torch.cuda.OutOfMemoryError), match=error):
        view(torch.rand(1, 3, 16, 16))


def test_an_unknown_way_to_say_a_size_is_refused(host: Host) -> None:
    for size in (picked(host, "size", "x9"), {}):  # newer hosts leave unknown ones out
        arguments = {"size": None, **size}
        with pytest.raises(ValueError, match="choose one of model scale, factor, fit"):
            upscale(host, load(host), images(), **arguments)


@pytest.mark.parametrize("name", ["SpanPPSetScale", "SpanPPModelInfo"])
def test_another_model_is_refused_by_name(host: Host, name: str) -> None:
    class Other:
        architecture = type("A", (), {"name": "ESRGAN"})

    with pytest.raises(
        TypeError, match=r"found an? ESRGAN model; .* connect Load SpanPP"
    ):
        host.node(name).execute(Other())


def test_loading_reads_a_file_again_when_it_changed(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(host.core.bundled_model().read_bytes())
    host.models["mine.safetensors"] = path
    node = host.node("SpanPPLoadModel")
    before = node.fingerprint_inputs("mine.safetensors")
    assert node.fingerprint_inputs("mine.safetensors") == before
    path.write_bytes(path.read_bytes() + b" ")
    assert node.fingerprint_inputs("mine.safetensors") != before


@pytest.fixture
def pair(host: Host, tmp_path: Path) -> Any:
    """A clean file that the host lists, with a repair model beside it."""
    clean = host.core.read(host.core.bundled_model())
    path = tmp_path / "mine.safetensors"
    host.core.write_slim(path, clean)
    beside = replace(clean, state_dict=fine_tuned(clean.state_dict))
    host.core.write_slim(tmp_path / "mine_repair.safetensors", beside)
    host.models["mine.safetensors"] = path
    return path


@pytest.mark.parametrize("repair", [0.0, 0.4, 1.0])
def test_repair_is_that_of_the_core(host: Host, pair: Path, repair: float) -> None:
    model, _ = host.node("SpanPPLoadModel").execute("mine.safetensors", repair).values
    expected = host.core.load(pair, repair=repair)
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(model(x), expected(x))
    view, _ = host.node("SpanPPSetScale").execute(model, 3.0).values
    (info,) = host.node("SpanPPModelInfo").execute(view).values
    assert f"repair: {repair:g} (0: clean, 1: full repair)" in info.splitlines()


def test_prompts_of_before_there_was_a_repair_give_the_clean_model(
    host: Host, pair: Path
) -> None:
    repair = host.node("SpanPPLoadModel").define_schema().inputs[-1]
    assert repair.id == "repair", "widgets are saved by position: new ones come last"
    assert (repair.options["optional"], repair.options["default"]) == (True, 0)
    model, _ = host.node("SpanPPLoadModel").execute("mine.safetensors").values
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(model(x), host.core.load(pair)(x))


def test_a_new_repair_model_is_read_again(host: Host, pair: Path) -> None:
    node = host.node("SpanPPLoadModel")
    before = node.fingerprint_inputs("mine.safetensors", repair=0.5)
    assert node.fingerprint_inputs("mine.safetensors", repair=0.5) == before
    beside = pair.with_name("mine_repair.safetensors")
    beside.write_bytes(beside.read_bytes() + b" ")
    assert node.fingerprint_inputs("mine.safetensors", repair=0.5) != before


def test_without_a_repair_model_its_name_is_told(host: Host, pair: Path) -> None:
    pair.with_name("mine_repair.safetensors").unlink()
    with pytest.raises(ValueError, match=r"as mine_repair\.safetensors"):
        host.node("SpanPPLoadModel").execute("mine.safetensors", 0.5)


def test_a_missing_file_is_named(host: Host) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model 'gone.pth' in models/"):
        host.node("SpanPPLoadModel").execute("gone.pth")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_upscaling_is_that_of_the_core(host: Host, channels: int) -> None:
    model, image = load(host).at_scale(3), images(2, channels=channels)
    output = upscale(host, model, image)
    result, width, height, info = output.values
    assert output.ui["text"] == (info,)
    expected = host.core.upscale(model, image.movedim(-1, 1)).movedim(1, -1)
    assert torch.equal(result, expected)
    assert (width, height) == (72, 60)
    assert result.is_contiguous()
    assert "24x20 → 72x60 px" in info
    assert "x3" in info


def test_values_outside_the_range_are_kept_and_shown(host: Host) -> None:
    result, *_, info = upscale(host, load(host), images() * 8).values
    assert float(result.max()) > 4
    assert "values from " in info
    assert info.partition(" kept")[0].endswith(f"to {float(images().max() * 8):.3g}")
    *_, info = upscale(host, load(host), images()).values
    assert "kept" not in info


@pytest.mark.parametrize(
    ("option", "values", "size"),
    [
        ("fit inside", {"width": 60, "height": 100}, (60, 50)),
        ("longer side", {"longer_side": 96}, (96, 80)),
        ("megapixels", {"megapixels": 0.012}, (120, 100)),
        ("exact size", {"width": 60, "height": 60}, (60, 60)),
        ("width", {"width": 60}, (60, 50)),
        ("height", {"height": 60}, (72, 60)),
        ("shorter side", {"shorter_side": 60}, (72, 60)),
        ("factor", {"factor": 1.5}, (36, 30)),
        ("model scale", {}, (48, 40)),
    ],
)
def test_every_way_to_say_a_size(
    host: Host, option: str, values: dict[str, Any], size: tuple[int, int]
) -> None:
    arguments = picked(host, "size", option, **values)
    result, *reported, info = upscale(host, load(host), images(), **arguments).values
    assert tuple(reported) == size
    assert result.shape == (1, size[1], size[0], 3)
    whole = size[1] % 20 == 0
    assert ("then resized" in info) is not whole
    assert ("cropped" in info) is (option == "exact size")


def test_sides_become_multiples(host: Host) -> None:
    factor = picked(host, "size", "factor", factor=1.5)
    for way, size in (("crop", (32, 24)), ("fit", (40, 32))):
        more = {"multiple_of": "8", "to_multiple": way, **factor}
        _, *reported, info = upscale(host, load(host), images(1, 20, 25), **more).values
        assert tuple(reported) == size
        assert "multiples of 8" in info


def test_a_result_larger_than_the_memory_is_refused(host: Host) -> None:
    image = torch.zeros(1).expand(1000, 2000, 2000, 3)
    sized = picked(host, "size", "factor", factor=8.0)
    with pytest.raises(ValueError, match=r"takes 3.1 TB .* are free; .* Upscale Video"):
        upscale(host, load(host), image, **sized)


def test_memory_is_asked_for_by_our_own_estimate(host: Host) -> None:
    model = load(host)
    upscale(host, model, images())
    assert host.memory_asked == [host.core.prepare(model, (20, 24)).working_memory]
    assert host.memory_asked[0] < 2**21, "a few kilopixels do not take gigabytes"


@pytest.mark.parametrize(
    ("device", "counted", "expected"),
    [
        ("meta", lambda device: 12345, 12345),
        ("meta", None, None),
        ("cpu", lambda device: 1, None),
    ],
)
def test_what_comfyui_can_evict_counts_as_free(
    host: Host, device: str, counted: Any, expected: int | None
) -> None:
    """On a GPU and where the host knows; of main memory the core knows more."""
    model = load(host)
    model.patcher.load_device = torch.device(device)
    if counted is not None:
        model.patcher.get_free_memory = counted
    module = sys.modules[f"{host.pack.__name__}.nodes.comfyui.device"]
    assert module.bring_to_device(model, 100) == expected


def test_progress_has_previews_and_stops_when_asked(host: Host) -> None:
    image = images(1, 106, 106)
    result = upscale(host, load(host), image, tile=16).values[0]
    done, total, (kind, picture, side) = host.progress[-1]
    assert (done, total, kind, side) == (16, 16, "JPEG", 212)
    assert picture.size == (212, 212), "people read it as the size of the result"
    assert np.array_equal(np.asarray(picture), to_bytes(result[0]))
    host.progress.clear()
    host.interrupt_after = 3
    with pytest.raises(Interrupted):
        upscale(host, load(host), image, tile=16)
    assert len(host.progress) == 3


def test_a_preview_in_between_is_small_and_shows_what_is_not_done_as_it_came(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    preview = sys.modules[f"{host.pack.__name__}.nodes.comfyui.preview"]
    monkeypatch.setattr(preview, "PREVIEW_SECONDS", 0)
    given, result = torch.full((1, 600, 600, 4), 0.5), torch.zeros(1, 1200, 1200, 4)
    result[:, :600] = 1
    _, picture, side = preview.LivePreview(given, result).due(1, 2)
    pixels = np.asarray(picture)
    assert side == 512
    assert side <= max(picture.size) < 2 * side
    half = len(pixels) // 2
    assert (pixels[:half] == 255).all()
    assert (pixels[half:] == 128).all()


def test_no_preview_is_sent_where_the_host_shows_none(host: Host) -> None:
    host.settings.preview_method = LatentPreviewMethod.NoPreviews
    upscale(host, load(host), images(), tile=16)
    assert {preview for *_, preview in host.progress} == {None}


def test_precision_does_not_touch_the_model_others_hold(host: Host) -> None:
    model = load(host)
    *_, info = upscale(host, model, images(), precision="bfloat16").values
    assert "bfloat16" in info
    assert model.dtype == torch.float32


def test_automatic_precision_asks_the_host_first(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen() -> str:
        *_, info = upscale(host, load(host), images(), precision="auto").values
        return info

    management = sys.modules["comfy.model_management"]
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert "float32" in chosen()
    fast = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: fast, raising=False)
    assert "bfloat16" in chosen()
    monkeypatch.setattr(management, "FORCE_FP32", True)
    assert "float32" in chosen()
    monkeypatch.setattr(management, "should_use_fp16", lambda device: True)
    assert chosen().splitlines()[1].split(" · ")[0] == "float16"


def test_model_info_says_what_is_bound(host: Host) -> None:
    output = host.node("SpanPPModelInfo").execute(load(host).at_scale(2.5))
    (info,) = output.values
    assert output.ui == {"text": (info,)}
    lines = info.splitlines()
    assert lines[:2] == ["file: bundled", "stored as: fused weights, float16"]
    assert lines[2:4] == ["scale: x2.5", "trained scales: x1, x2, x3, x4"]
    assert lines[-1] == "float32 on cpu"


def test_compare_is_half_before_and_half_after(host: Host) -> None:
    before, after = torch.zeros(1, 4, 5, 3), torch.full((1, 8, 10, 3), 0.5)
    output = host.node("SpanPPCompare").execute(before, after, 0.5)
    (view,) = output.values
    assert view.shape == after.shape
    assert view[0, 0, :4].max() == 0
    assert view[0, 0, 6:].eq(0.5).all()
    assert torch.equal(output.ui["images"][0], view[0])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_compare_shows_one_picture_of_a_batch_in_colour(
    host: Host, channels: int
) -> None:
    before, after = images(5, 4, 4, channels), images(5, 8, 8, channels)
    output = host.node("SpanPPCompare").execute(before, after, 0.5)
    (shown,) = output.ui["images"]
    assert shown.shape[-1] == max(channels, 3)
    assert output.values[0].shape == after.shape
    assert "first of 5 frames" in output.ui["text"][0]


def test_demo_photo_is_small_and_pans(host: Host) -> None:
    node = host.node("SpanPPDemoPhoto")
    (photo,) = node.execute(128, 1).values
    (frames,) = node.execute(128, 5).values
    assert max(photo.shape[1:3]) == 128
    assert 0 <= photo.min() < photo.max() <= 1
    assert frames.shape == (5, photo.shape[1], photo.shape[2] - 8, 3)
    assert torch.equal(frames[1, :, :-2], frames[0, :, 2:])
    with pytest.raises(ValueError, match="frames need a photo wider than 126 pixels"):
        node.execute(64, 64)


def test_demo_photo_as_a_jpeg_is_near_it_and_shows_blocks(host: Host) -> None:
    node = host.node("SpanPPDemoPhoto")
    (photo,) = node.execute(128, 1).values
    (stored,) = node.execute(128, 1, 40).values
    assert stored.shape == photo.shape
    difference = (stored - photo).abs()
    assert 0.005 < difference.mean() < 0.05
    columns = (stored[:, :, 1:] - stored[:, :, :-1]).abs().mean((0, 1, 3))
    edges = columns[7::8].mean()
    assert edges > 1.05 * columns.mean(), "borders of blocks of 8 pixels are seen"


@pytest.mark.parametrize("name", ["a" * 300, "a/" + "ü" * 150, "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(host: Host, name: str) -> None:
    for node, more in (("SpanPPSaveSlim", ("float16",)), ("SpanPPExport", EXPORT)):
        with pytest.raises(ValueError, match="is no name of a file"):
            host.node(node).execute(load(host), name, *more)


def test_weights_cast_by_another_node_are_saved_as_the_file_has_them(
    host: Host,
) -> None:
    model = load(host)
    model.to(torch.bfloat16)
    host.node("SpanPPSaveSlim").execute(model, "slim", "float32")
    host.node("SpanPPExport").execute(model, "e", *EXPORT)
    expected = load(host)(x := images().movedim(-1, 1))
    for file in ("slim_00001_.safetensors", "e_slim.safetensors"):
        again = host.core.load(host.output / file)
        assert torch.allclose(again(x), expected, atol=1e-6), file


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", " ", "."])
def test_slim_files_stay_in_the_output_folder(
    host: Host, name: str, tmp_path: Path
) -> None:
    host.output.mkdir(exist_ok=True)
    with pytest.raises(ValueError, match="leads out of ComfyUI's output folder"):
        host.node("SpanPPSaveSlim").execute(load(host), name, "float16")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_slim_file_gives_the_same_pictures(host: Host) -> None:
    host.output.mkdir()
    model = load(host)
    host.node("SpanPPSaveSlim").execute(model, "folder/slim", "float32")
    again = host.core.load(host.output / "folder" / "slim_00001_.safetensors")
    x = images().movedim(-1, 1)
    assert torch.allclose(again(x), model(x), atol=1e-6)


EXPORT = ("safetensors", "", "float32", False)


def test_an_export_as_offered_needs_nothing_installed(host: Host) -> None:
    schema = host.node("SpanPPExport").define_schema()
    by_id = {each.id: each.default for each in schema.inputs}
    assert by_id["format"] == "safetensors"
    assert not host.core.export.FORMATS[by_id["format"]].packages


def test_all_packages_that_a_format_lacks_are_named_at_once(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = host.core.export.FORMATS["onnx"]
    monkeypatch.setattr(type(kind), "packages", ("no_onnx", "no_runtime"), raising=True)
    with pytest.raises(
        ValueError, match="needs no_onnx and no_runtime, which this Com"
    ):
        exported(host, format="onnx")


def test_formats_of_saved_graphs_are_taken(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = host.node("SpanPPExport")
    assert node.validate_inputs(format="onnx-multi") is True
    assert node.validate_inputs(format="torchscript") is True
    assert "choose one of safetensors" in node.validate_inputs(format="gguf")
    kind = host.core.export.FORMATS["onnx-any"]
    monkeypatch.setattr(type(kind), "packages", ("no_onnx",))
    with pytest.raises(ValueError, match="the format onnx-any needs no_onnx"):
        exported(host, format="onnx-multi")


def test_own_models_are_listed(host: Host) -> None:
    extension = asyncio.run(host.pack.comfy_entrypoint())
    asyncio.run(extension.get_node_list())
    assert host.listed == [("upscale_models", str(host.output / "upscale_models"))]


def exported(host: Host, **more: Any) -> str:
    arguments = {"filename": "e/m", "format": "torchscript", "scales": ""} | more
    arguments = {"precision": "float32", "overwrite": False} | arguments
    model = arguments.pop("model", None) or load(host)
    return host.node("SpanPPExport").execute(model, **arguments).ui["text"][0]


def test_exports_land_in_the_output_folder(host: Host) -> None:
    text = exported(host, scales="2, 3;")
    assert sorted(path.name for path in (host.output / "e").iterdir()) == [
        "m_x2.torchscript.pt",
        "m_x3.torchscript.pt",
    ]
    assert "m_x3.torchscript.pt: within" in text
    assert [step[:2] for step in host.progress] == [(1, 2), (2, 2)]
    with pytest.raises(ValueError, match="exists"):
        exported(host)
    exported(host, overwrite=True)


def test_an_export_is_of_the_bound_scale_by_default(host: Host) -> None:
    exported(host, model=load(host).at_scale(3))
    assert [path.name for path in host.output.glob("e/*")] == ["m_x3.torchscript.pt"]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", " ", "."])
def test_exports_stay_in_the_output_folder(
    host: Host, name: str, tmp_path: Path
) -> None:
    host.output.mkdir(exist_ok=True)
    with pytest.raises(ValueError, match="leads out of ComfyUI's output folder"):
        exported(host, filename=name)
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"scales": "two"}, "'two' is not a factor"),
        ({"scales": "2,5"}, "x2.5 is a fraction"),
        ({"scales": "2.5"}, "is a fraction"),
        ({"format": "gguf"}, "choose one of "),
        ({"format": "safetensors", "scales": "2"}, "every scale"),
    ],
)
def test_what_can_not_be_exported_is_said_at_once(
    host: Host, more: dict[str, str], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        exported(host, **more)
    assert not host.output.exists()
