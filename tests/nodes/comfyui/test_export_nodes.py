"""Export Model and Save Slim: names, formats, the output folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from node_calls import images, load
from stand_in_host import Host


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


REFUSED = r"^the name is empty|leads out of ComfyUI's output folder"


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", " ", "."])
def test_slim_files_stay_in_the_output_folder(
    host: Host, name: str, tmp_path: Path
) -> None:
    host.output.mkdir(exist_ok=True)
    with pytest.raises(ValueError, match=REFUSED):
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
    assert "output/e/m_x3.torchscript.pt: at most " in text
    assert [step[:2] for step in host.progress] == [(1, 2), (2, 2)]
    with pytest.raises(ValueError, match="exists"):
        exported(host)
    exported(host, overwrite=True)


def test_an_export_that_differs_nowhere_is_called_the_same(host: Host) -> None:
    text = exported(host, format="safetensors")
    assert text == "output/e/m_slim.safetensors: the same as the model"


def test_an_export_is_of_the_bound_scale_by_default(host: Host) -> None:
    exported(host, model=load(host).at_scale(3))
    assert [path.name for path in host.output.glob("e/*")] == ["m_x3.torchscript.pt"]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", " ", "."])
def test_exports_stay_in_the_output_folder(
    host: Host, name: str, tmp_path: Path
) -> None:
    host.output.mkdir(exist_ok=True)
    with pytest.raises(ValueError, match=REFUSED):
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
def test_what_cannot_be_exported_is_said_at_once(
    host: Host, more: dict[str, str], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        exported(host, **more)
    assert not host.output.exists()
