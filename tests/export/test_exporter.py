"""What ends up in the folder, and what does not."""

from __future__ import annotations

import errno
import os
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import spanpp_core
from spanpp_core import checkpoint
from spanpp_core.errors import ScaleError
from spanpp_core.export import ExportError, ExportOptions, export, formats
from spanpp_core.export.exporter import Exported
from spanpp_core.export.formats import Safetensors
from spanpp_core.export.frozen import Frozen
from spanpp_core.network.body import SPAB, Body


def names(files: list[Exported]) -> list[str]:
    return [path.name for file in files for path in file.paths]


def test_torchscript_and_slim_files(any_model, tmp_path):
    for precision, tolerance in (("fp32", 1e-5), ("fp16", 1 / 255)):
        files = list(
            export(
                any_model,
                "small",
                tmp_path / "new" / "folder",
                ["torchscript", "safetensors"],
                [2, 3],
                ExportOptions(precision),
            )
        )
        assert all(file.difference <= file.tolerance == tolerance for file in files)
        assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    slim = tmp_path / "new" / "folder" / "small_slim_fp16.safetensors"
    assert spanpp_core.load(slim).scales == any_model.hyper.scales


def test_each_file_is_named_for_its_scale(small_model, tmp_path):
    files = list(export(small_model, "m", tmp_path, ["torchscript"], [3, 1.0, 3]))
    assert names(files) == ["m_x3.torchscript.pt", "m_x1.torchscript.pt"]
    files = list(export(small_model, "m", str(tmp_path), ["torchscript"]))
    assert names(files) == ["m_x2.torchscript.pt"], "the default scale"


def test_one_format_and_one_scale_need_no_list(small_model, tmp_path):
    (file,) = export(small_model, "m", tmp_path, "torchscript", 3)
    assert names([file]) == ["m_x3.torchscript.pt"]
    with pytest.raises(ExportError, match="format onxx; give one or more of onnx,"):
        export(small_model, "m", tmp_path, "onxx")


@pytest.mark.parametrize("precision", ["float32", "int8", torch.float32], ids=str)
def test_a_precision_that_is_none_is_not_taken_for_fp16(precision):
    with pytest.raises(ExportError, match=r"precision is .*; give one of fp32, fp16"):
        ExportOptions(precision=precision)


def test_onnx_files(small_model, tmp_path):
    pytest.importorskip("onnx", reason="pip install 'spanpp[onnx]' to run this")
    pytest.importorskip("onnxruntime", reason="pip install 'spanpp[onnx]' to run this")
    options = ExportOptions(precision="fp16", size=(9, 13))
    files = list(
        export(small_model, "m", tmp_path, ["onnx", "onnx-any"], [2.5], options)
    )
    assert names(files) == ["m_x2.5_fp16_9x13.onnx", "m_any_fp16.onnx"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names(files))
    assert all(0 < file.difference <= 2e-3 for file in files)


def test_a_scale_is_one_file_however_it_is_written(small_model, tmp_path):
    pytest.importorskip("onnx", reason="pip install 'spanpp[onnx]' to run this")
    pytest.importorskip("onnxruntime", reason="pip install 'spanpp[onnx]' to run this")
    for scales in ([1.3333333, 4 / 3], [4 / 3]):
        files = list(export(small_model, "m", tmp_path / str(scales), ["onnx"], scales))
        assert names(files) == ["m_x1.33333.onnx"]
    first, second = tmp_path.glob("*/*.onnx")
    assert first.read_bytes() == second.read_bytes()


def test_ncnn_files(small_model, tmp_path):
    pytest.importorskip("ncnn", reason="pip install 'spanpp[ncnn]' to run this")
    files = list(export(small_model, "m", tmp_path, ["ncnn"], [2, 4]))
    assert names(files) == ["m_x2.bin", "m_x2.param", "m_x4.bin", "m_x4.param"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names(files)
    assert all(file.difference < 1e-5 for file in files)


@pytest.mark.parametrize("name", ["2x_Foo", "Foo_4x", "Foo-x1.5", "x3 Foo"])
def test_a_scale_in_the_name_is_not_mistaken_for_that_of_the_file(
    small_model, tmp_path, name
):
    files = list(export(small_model, name, tmp_path, ["torchscript"], [4]))
    assert names(files) == ["Foo_x4.torchscript.pt"]


def test_a_file_that_differs_is_not_written(small_model, tmp_path, monkeypatch):
    def damaged(found, dtype):
        other = {k: t * 1.01 if t.ndim == 4 else t for k, t in found.state_dict.items()}
        return checkpoint.slim_content(checkpoint.parse(other), dtype)

    monkeypatch.setattr(formats, "slim_content", damaged)
    with pytest.raises(ExportError, match=r"m_slim\.safetensors .* was not written"):
        list(export(small_model, "m", tmp_path, ["safetensors"]))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_run_is_not_written(small_model, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "slim_content", lambda found, dtype: b"")
    with pytest.raises(ExportError, match="does not run, and was not written"):
        list(export(small_model, "m", tmp_path, ["safetensors"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["torchscript", "ncnn", "safetensors"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    small_model, tmp_path, monkeypatch, kind
):
    pytest.importorskip("ncnn", reason="pip install 'spanpp[ncnn]' to run this")
    whole = Path.write_bytes

    def full(path: Path, data: bytes) -> None:
        whole(path, data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ExportError, match="could not be written: No space left"):
        list(export(small_model, "m", tmp_path, [kind]))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_leaves_the_old_file(small_model, tmp_path, monkeypatch):
    old = tmp_path / "m_slim.safetensors"
    old.write_text("old")
    with pytest.raises(ExportError, match="exists"):
        export(small_model, "m", tmp_path, ["safetensors"])
    monkeypatch.setattr(Safetensors, "difference", lambda *_: float("nan"))
    with pytest.raises(ExportError, match="away from the model"):
        list(
            export(
                small_model,
                "m",
                tmp_path,
                ["safetensors"],
                (),
                ExportOptions(overwrite=True),
            )
        )
    assert old.read_text() == "old"
    monkeypatch.undo()
    list(
        export(
            small_model,
            "m",
            tmp_path,
            ["safetensors"],
            (),
            ExportOptions(overwrite=True),
        )
    )
    assert spanpp_core.load(old).scale == 2


@pytest.mark.parametrize(
    ("formats", "extra"),
    [(["onnx"], "onnx"), (["onnx-any"], "onnx"), (["ncnn"], "ncnn")],
)
def test_a_missing_extra_is_named(small_model, tmp_path, monkeypatch, formats, extra):
    for module in ("onnx", "onnxruntime", "ncnn"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        spanpp_core.MissingPackageError, match=rf"install 'spanpp\[{extra}\]'"
    ):
        export(small_model, "m", tmp_path, formats)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/m", "../m"])
def test_a_name_is_not_a_path(small_model, tmp_path, name):
    with pytest.raises(ExportError, match="name of a file"):
        export(small_model, name, tmp_path, ["safetensors"])


@pytest.mark.parametrize(
    ("formats", "scales", "options", "word"),
    [
        (["safetensors"], [2], ExportOptions(), "every scale"),
        (["torchscript"], [2.5], ExportOptions(), "fraction"),
        (["onnx-span"], [2.5], ExportOptions(), "fraction"),
        (["torchscript"], [2], ExportOptions(size=(8, 8)), "fixed size"),
        (["torchscript"], [2], ExportOptions(opset=18), "opset"),
        (["gguf"], [2], ExportOptions(), "gguf; give one"),
        ([], [2], ExportOptions(), "missing; give one"),
    ],
)
def test_what_does_not_go_together(
    small_model, tmp_path, formats, scales, options, word
):
    with pytest.raises(ExportError, match=word):
        export(small_model, "m", tmp_path, formats, scales, options)


def test_a_scale_out_of_range(small_model, tmp_path):
    with pytest.raises(ScaleError):
        export(small_model, "m", tmp_path, ["torchscript"], [9])


def test_hosts_run_it_in_inference_mode(model_file: Path, tmp_path):
    with torch.inference_mode():
        found = spanpp_core.checkpoint.read(model_file)
        files = list(export(found, "m", tmp_path, ["torchscript", "safetensors"]))
    assert len(files) == 2


def test_the_place_of_the_package_is_not_in_the_file(
    small_model, tmp_path, monkeypatch
):
    """Hosts load a pack under its path, which is no name for a class."""
    for kind in (Frozen, Body, SPAB):
        monkeypatch.setattr(kind, "__module__", f"/home/me/pack.{kind.__module__}")
    list(export(small_model, "m", tmp_path, ["torchscript"]))
    with zipfile.ZipFile(tmp_path / "m_x2.torchscript.pt") as program:
        assert not [name for name in program.namelist() if "home" in name]
