"""The folder merged into a real traiNNer-redux: files, configs, its own tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import spanpp_core

from .merged import ROOT, Merged


def test_no_file_of_the_trainer_is_overwritten(trainer: Merged):
    checkout = Path(os.environ["TRAINNER_DIR"])
    ours = [p for p in (ROOT / "traiNNer").rglob("*") if p.suffix in {".py", ".yml"}]
    assert len(ours) >= 30
    for file in ours:
        place = checkout / file.relative_to(ROOT)
        assert not place.exists(), f"the trainer has a {place} now: rename ours"


def test_nothing_is_installed_but_the_trainer(trainer: Merged):
    done = trainer.run("-c", "import spanpp_core")
    assert "No module named 'spanpp_core'" in done.stdout, (
        "spanpp is installed beside the trainer: the merged folder is not tested alone"
    )


def test_configs_are_in_the_trainers_format(trainer: Merged):
    files = sorted((ROOT / "traiNNer/options").rglob("*.yml"))
    assert len(files) == 5
    code = """
import sys
from traiNNer.utils.options import yaml_load
for file in sys.argv[1:]:
    print("SCALE", yaml_load(file)[0].scale)
"""
    done = trainer.run("-c", code, *map(str, files))
    assert done.stdout.count("SCALE 4") == len(files), done.stdout


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scale": 3}, "scale is 3 and the largest of scale_list is 4"),
        ({"network_g__scale_list": []}, "scale_list is []; give a list"),
        ({"network_g__eval_base_scale": 5}, "eval_base_scale is 5; give one of"),
        (
            {"pairs": 3},
            "datasets.train: 0.png: 144x144 of a low-resolution 48x48 is x3",
        ),
        ({"val_pairs": 1}, "datasets.val: 0.png: 144x144 of a low-resolution 144x144"),
        ({"path__pretrain_network_g": "no.pth"}, "no.pth: no such file"),
        ({"path__pretrain_network_g": "bundled"}, "network_g.feature_channels is 8"),
    ],
)
def test_wrong_configs_are_one_line(trainer: Merged, changes, says):
    changes = dict(changes)
    pairs, val_pairs = changes.pop("pairs", None), changes.pop("val_pairs", None)
    if changes.get("path__pretrain_network_g") == "bundled":
        changes["path__pretrain_network_g"] = str(spanpp_core.bundled_model())
    options = trainer.config("fidelity", iterations=1, name="wrong", **changes)
    if pairs:
        options["datasets"]["train"] |= trainer.pairs(pairs)
    if val_pairs:
        options["datasets"]["val"] |= trainer.pairs(val_pairs)
    done = trainer.start("train.py", options)
    assert done.returncode == 1, done.stdout
    *_, last = done.stdout.strip().splitlines()
    assert last.startswith("wrong.yml: ")
    assert says in last
    assert "Traceback" not in done.stdout


def test_an_unknown_option_is_named(trainer: Merged):
    options = trainer.config(
        "fidelity", iterations=1, name="unknown", network_g__norm=True
    )
    done = trainer.start("train.py", options)
    assert "got an unexpected keyword argument 'norm'" in done.stdout


def test_the_trainers_own_tests_of_architectures_pass(trainer: Merged):
    tests = "tests/test_archs/test_archs.py"
    done = trainer.run("-m", "pytest", "-q", tests, "-k", "spanpp")
    assert "8 passed" in done.stdout, done.stdout
