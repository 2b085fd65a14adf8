"""The core as a package, inside a pack, and what importing it costs a host."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import spanpp_core

ROOT = Path(spanpp_core.__file__).parents[1]


def modules() -> list[str]:
    found = pkgutil.walk_packages(spanpp_core.__path__, "spanpp_core.")
    return sorted(info.name for info in found)


@pytest.mark.parametrize("name", modules())
def test_documented_examples_run(name: str):
    if name.endswith(".triton_kernels"):
        pytest.importorskip("triton", reason="comes with PyTorch for CUDA, on Linux")
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def run_python(code: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_core_loads_within_a_pack_that_is_not_on_the_path(tmp_path: Path):
    """As ComfyUI does it: the folder's path is the module's name."""
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("from . import spanpp_core")
    (tmp_path / "pack" / "spanpp_core").symlink_to(ROOT / "spanpp_core")
    code = f"""
import importlib.util, sys
sys.path = [p for p in sys.path if p not in ("", {str(ROOT)!r})]
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "spanpp_core":
            raise ImportError("the pack must not need an installed core")
sys.meta_path.insert(0, Hidden())
name = {str(tmp_path / "pack")!r}
spec = importlib.util.spec_from_file_location(
    name, name + "/__init__.py", submodule_search_locations=[name]
)
pack = importlib.util.module_from_spec(spec)
sys.modules[name] = pack
spec.loader.exec_module(pack)
model = pack.spanpp_core.load(pack.spanpp_core.bundled_model())
print(model.scales)
"""
    assert run_python(code, tmp_path).strip() == "(1, 2, 3, 4)"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a new process says of the core, and then of the command without its extra."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "pyvips" else find(name, *a)
import spanpp_core
print([n for n in ("typer", "rich", "pyvips", "comfy", "nodes") if n in sys.modules])
from spanpp_core.command import main
try:
    main()
except SystemExit as stop:
    print(stop.code)
"""
    return run_python(code, tmp_path_factory.mktemp("elsewhere")).splitlines()


def test_core_needs_nothing_that_only_the_command_needs(said: list[str]):
    assert said[0] == "[]"


def test_command_without_its_extra_names_it(said: list[str]):
    assert said[1:] == ["2"]
