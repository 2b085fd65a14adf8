"""`spanpp info`: what a checkpoint file is; and which version says so."""

from __future__ import annotations

import json
import runpy
import shutil

import pytest
from front_door import spanpp

import spanpp_core


def test_info(weights, capsys):
    assert spanpp("info", weights, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["weights"] == "training"
    assert facts["fractional_scales"] == "downscale"
    assert facts["trained_scales"] == [1, 2, 3, 4]
    assert facts["channels"] == 4
    assert facts["repair"] == 0
    assert facts["repair_file"] is None
    assert spanpp("info") == 0
    assert str(spanpp_core.bundled_model()) in capsys.readouterr().out


def test_a_path_longer_than_a_terminal_is_wide_stays_in_one_line(
    weights, tmp_path, capsys
):
    model = tmp_path / ("a" * 100) / weights.name
    model.parent.mkdir()
    shutil.copy(weights, model)
    assert spanpp("info", model) == 0
    assert f"  {model}" in capsys.readouterr().out


def test_help_has_a_short_name(capsys):
    assert spanpp("info", "-h") == 0
    assert "Usage: " in capsys.readouterr().out


def test_version(capsys):
    assert spanpp("--version") == 0
    assert capsys.readouterr().out == f"spanpp {spanpp_core.__version__}\n"


def test_repair_files_beside_are_told(clean_file, capsys):
    assert spanpp("info", clean_file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["repair_file"].endswith(
        "_repair.safetensors"
    )


def test_the_package_is_the_command_too(weights, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["spanpp_core", "info", str(weights), "--json"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("spanpp_core", run_name="__main__")
    assert not end.value.code
    assert json.loads(capsys.readouterr().out)["channels"] == 4
