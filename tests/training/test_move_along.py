"""A fine-tuned model that follows the one it began from, when that is trained further."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import fine_tuned, training_network

from spanpp_core import checkpoint

SCRIPT = Path(__file__).parents[2] / "recipes" / "move_along.py"

pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file(), reason="the script is in the repository alone"
)


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_what_the_base_gained_is_added(share, tmp_path, monkeypatch):
    old = dict(checkpoint.parse(training_network().state_dict()).state_dict)
    fine, new = fine_tuned(old), {name: each * 1.1 for name, each in old.items()}
    new |= {name: each for name, each in old.items() if not each.is_floating_point()}
    for name, state in (("fine", fine), ("old", old), ("new", new)):
        facts = {"repair": "1.0" if name == "fine" else "0.0", "continuous": "true"}
        save_file(state, tmp_path / f"{name}.safetensors", facts)
    names = [f"{tmp_path / name}.safetensors" for name in ("fine", "old", "new", "out")]
    monkeypatch.setattr("sys.argv", ["move_along", *names, "--share", str(share)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    made = checkpoint.read(names[-1])
    assert (made.repair, made.continuous) == (1, True)
    for name, each in made.state_dict.items():
        if each.is_floating_point():
            expected = fine[name] + 0.1 * share * old[name]
            torch.testing.assert_close(each, expected, msg=name)
