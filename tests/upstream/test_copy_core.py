"""What travels with the folder for traiNNer-redux is the core's, and enough."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import spanpp_core

ROOT = Path(spanpp_core.__file__).parents[1]


@pytest.fixture(scope="module")
def copy_core() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "copy_core", ROOT / "upstream" / "copy_core.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_copy_is_the_core(copy_core: ModuleType):
    folder = ROOT / "traiNNer" / "spanpp_core"
    there = {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*.py")
    }
    wanted = copy_core.copied()
    differ = {name for name in there | wanted if there.get(name) != wanted.get(name)}
    assert not differ, "the core has changed: run `python upstream/copy_core.py`"


@pytest.mark.skipif(
    not hasattr(torch.nn.Module, "register_load_state_dict_pre_hook"),
    reason="traiNNer-redux needs PyTorch 2.5",
)
def test_folder_needs_no_installed_package(tmp_path: Path):
    code = f"""
import sys
sys.modules["spanpp_core"] = None
sys.path.insert(0, {str(ROOT)!r})
import torch
from traiNNer.archs.spanpp_network import SpanPPNetwork
from traiNNer.spanpp_core.checkpoint import read
network = SpanPPNetwork(
    scales=(1, 2), eval_base_scale=2, num_in_ch=3, feature_channels=4,
    ig_kernel_size=3, implicit_dim=8, latent_layers=1,
)
print(tuple(network.frozen()(torch.rand(1, 3, 5, 4)).shape))
print(read({str(spanpp_core.bundled_model())!r}).hyper.scales)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["(1, 3, 10, 8)", "(1, 2, 3, 4)"], done.stderr
