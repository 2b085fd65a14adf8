"""What ``spanpp chainner`` finds, refuses and installs, without a chaiNNer."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="the command needs: pip install 'spanpp[cli]'")

from spanpp_core.command import app as command
from spanpp_core.command import chainner_python
from spanpp_core.command.chainner_python import ChainnerError, PythonInstallation
from spanpp_core.command.chainner_wheel import STARTUP_LINE, build_wheel

GOOD = {"torch": "2.7.0+cu128", "spandrel": "0.4.1", "safetensors": "0.4.0"}
GOOD["numpy"] = "1.24.4"


def target(**versions: str | None) -> PythonInstallation:
    found = {name: v for name, v in {**GOOD, **versions}.items() if v is not None}
    return PythonInstallation(Path("python"), (3, 11, 5), found)


@pytest.mark.parametrize(
    ("platform", "variable", "inside"),
    [
        ("win32", "APPDATA", "python/python/python.exe"),
        ("linux", "XDG_CONFIG_HOME", "python/python/bin/python3.11"),
    ],
)
def test_finds_the_python_of_an_installed_chainner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform, variable, inside
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    python = tmp_path / "chaiNNer" / inside
    python.parent.mkdir(parents=True)
    python.touch()
    assert chainner_python.find_python(None) == python


def test_finds_the_python_of_chainner_on_a_mac(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    data = tmp_path / "Library" / "Application Support" / "chaiNNer"
    python = data / "python" / "python" / "bin" / "python3.11"
    python.parent.mkdir(parents=True)
    python.touch()
    assert chainner_python.find_python(None) == python


def test_finds_the_python_of_a_portable_chainner(tmp_path: Path):
    python = tmp_path / "python" / "python" / "python.exe"
    python.parent.mkdir(parents=True)
    python.touch()
    assert chainner_python.find_python(tmp_path) == python


@pytest.mark.parametrize(
    ("use_system", "named", "versions", "taken"),
    [
        (False, "own", {"own": "Python 3.12.1"}, "python3.11"),
        (True, "own", {"own": "Python 3.12.1", "python3": "Python 3.13.0"}, "own"),
        (True, None, {"python3": "Python 3.12.1"}, "python3"),
        (True, None, {"python3": "", "python": "Python 3.12.1"}, "python"),
        (True, None, {"python3": "Python 3.9.2"}, "python3.11"),
    ],
    ids=["built in", "named", "in PATH", "link to a store", "too old"],
)
def test_takes_the_python_that_chainner_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_system, named, versions, taken
):
    builtin = tmp_path / "python" / "python" / "bin" / "python3.11"
    programs = {name: tmp_path / "bin" / name for name in versions}
    for file in (builtin, *programs.values()):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    settings = {"useSystemPython": use_system, "systemPythonLocation": named}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    said = {file: versions[name] for name, file in programs.items()}
    monkeypatch.setattr(chainner_python.shutil, "which", programs.get)
    monkeypatch.setattr(
        chainner_python,
        "_run",
        lambda python, *_: subprocess.CompletedProcess([], 0, said[python], ""),
    )
    assert chainner_python.find_python(tmp_path).name == taken


def test_does_not_ask_to_remove_the_command_that_runs():
    shared = PythonInstallation(Path(sys.executable), (3, 11), {**GOOD, "spanpp": "1"})
    with pytest.raises(ChainnerError, match=r"into a Python of its own .* from there"):
        chainner_python.check(shared)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ERROR: no room\nhint: See PEP 668", "ERROR: no room"),
        (
            "error: externally-managed-environment\n\nnote: x\nhint: See PEP 668",
            "managed",
        ),
        ("something odd", "something odd"),
    ],
)
def test_pips_reason_is_told_and_not_its_last_line(monkeypatch, said, told):
    done = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(chainner_python, "_run", lambda *_: done)
    with pytest.raises(ChainnerError, match=told) as error:
        chainner_python.uninstall(target())
    assert "hint" not in str(error.value)


def test_the_startup_line_is_silent_without_the_nodes():
    done = subprocess.run(
        [sys.executable, "-I", "-c", STARTUP_LINE],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_says_where_it_looked(tmp_path: Path):
    with pytest.raises(ChainnerError, match="start chaiNNer once") as error:
        chainner_python.find_python(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("versions", "says"),
    [
        ({"torch": None}, "torch not found .*dependency manager"),
        ({"spandrel": "0.3.4"}, "spandrel 0.3.4 .*needs 0.4.1 or newer"),
        ({"torch": "2.0.1+cu118"}, r"torch 2.0.1\+cu118 .*needs 2.1 or newer"),
        ({"spanpp": "0.1.0"}, "pip uninstall spanpp"),
    ],
)
def test_refuses_a_python_that_cannot_run_it(versions, says):
    with pytest.raises(ChainnerError, match=says):
        chainner_python.check(target(**versions))


def test_takes_what_chainner_pins():
    chainner_python.check(target())


def test_refuses_an_old_python():
    with pytest.raises(ChainnerError, match=r"3\.9\.1; SpanPP needs 3\.10"):
        chainner_python.check(PythonInstallation(Path("python"), (3, 9, 1), GOOD))


@pytest.mark.parametrize("name", ["missing", "directory"])
def test_a_python_that_is_none_is_one_line(tmp_path: Path, capsys, name: str):
    if name == "directory":
        (tmp_path / name).mkdir()
    status = command.run(["chainner", "status", "--python", str(tmp_path / name)])
    error = capsys.readouterr().err
    assert status == 2
    assert error.startswith("spanpp: ")
    assert error.count("\n") == 1


def test_wheel_holds_core_nodes_and_startup_line_and_nothing_else(tmp_path: Path):
    wheel = build_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    info = f"spanpp_chainner-{version('spanpp')}.dist-info"
    tops = {name.split("/")[0] for name in files}
    assert tops == {"spanpp_core", "spanpp_chainner", "spanpp_chainner.pth", info}
    assert not [name for name in files if "__pycache__" in name]
    for needed in ("spanpp_chainner/_hook.py", "spanpp_core/__init__.py"):
        assert needed in files
    line = files["spanpp_chainner.pth"].decode()
    assert line.startswith("import "), "Python only runs lines that start with import"
    assert line.count("\n") == 1
    rows = [row.split(",") for row in files[f"{info}/RECORD"].decode().splitlines()]
    assert sorted(row[0] for row in rows) == sorted(files)
    for name, digest, size in rows:
        if digest:
            expected = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest())
            assert digest == "sha256=" + expected.decode().rstrip("=")
            assert int(size) == len(files[name])
