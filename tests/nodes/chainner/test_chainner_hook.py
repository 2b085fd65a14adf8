"""The import hook: inert everywhere but in chaiNNer's server, and never an error.

Each case runs a program of its own, with the nodes as the package it would import.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

NODES = Path(__file__).parents[3] / "nodes" / "chainner"

START = """
import sys
sys.path.insert(0, {site!r})
import spanpp_chainner._hook as hook
before = list(sys.meta_path)
hook.install()
armed = sys.meta_path != before
"""

SERVER = (
    START
    + """
import logging
logger = logging.getLogger("server")
logging.basicConfig(format="%(message)s", level=logging.WARNING)
import api
import packages.chaiNNer_pytorch
print("armed", armed)
print("loaded", api.registry.load_nodes("server.py") if hasattr(api, "registry") else "-")
"""
)

API = """
class Registry:
    def load_nodes(self, file):
        return f"nodes of {file}"

registry = Registry()
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages with our nodes, which cannot be imported there."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "spanpp_chainner").symlink_to(NODES)
    return tmp_path / "site"


def run(program: Path, text: str, site: Path) -> subprocess.CompletedProcess[str]:
    program.write_text(text.format(site=str(site)))
    return subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=False
    )


def chainner(folder: Path, api: str = API) -> Path:
    """Writes what the hook looks for in a chaiNNer, and returns its server's path."""
    (folder / "packages" / "chaiNNer_pytorch").mkdir(parents=True)
    (folder / "packages" / "chaiNNer_pytorch" / "__init__.py").touch()
    (folder / "api.py").write_text(api)
    return folder / "server.py"


@pytest.mark.parametrize("name", ["run.py", "server.py", "myserver.py"])
def test_inert_in_any_other_program(tmp_path: Path, site: Path, name: str):
    done = run(tmp_path / name, START + "print(armed)", site)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "False", "")


def test_inert_in_the_host_process_of_chainner(tmp_path: Path, site: Path):
    program = chainner(tmp_path).with_name("run.py")
    done = run(program, START + "print(armed)", site)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "False", "")


def test_nodes_that_cannot_be_imported_are_one_warning(tmp_path: Path, site: Path):
    done = run(chainner(tmp_path), SERVER, site)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["armed True", "loaded nodes of server.py"]
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("SpanPP's nodes are not available: ImportError: ")


@pytest.mark.parametrize(
    "api",
    ["", "registry = None\n", "class registry:\n    __slots__ = ()\n"],
    ids=["no registry", "registry of nothing", "registry without load_nodes"],
)
def test_unknown_chainner_still_starts(tmp_path: Path, site: Path, api: str):
    server = SERVER.replace('print("loaded"', 'armed or print("loaded"')
    done = run(chainner(tmp_path, api), server, site)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "armed True"
    assert "SpanPP's nodes are not available" in done.stderr
