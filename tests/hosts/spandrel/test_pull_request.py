"""The pull request to spandrel, put into a real checkout of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import spanpp_core

ROOT = spanpp_core.bundled_model().parents[2]
PULL_REQUEST = ROOT / "upstream" / "spandrel"

UPSCALE = """
import sys
import torch
from spandrel import ModelLoader
model = ModelLoader().load_from_file(sys.argv[1])
assert "spanpp_core" not in sys.modules
image = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    torch.save(model(image), sys.argv[3])
print("READ", model.architecture.name, model.scale)
"""


class Checkout:
    """A copy of spandrel with the pull request in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = os.environ.get("SPANDREL_PYTHON", sys.executable)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs Python there, where our package is not found."""
        libs = ("libs/spandrel", "libs/spandrel_extra_arches")
        path = os.pathsep.join(str(self.folder / lib) for lib in libs)
        return subprocess.run(
            [self.python, "-W", "ignore", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    source = os.environ.get("SPANDREL_DIR")
    if not source:
        pytest.skip("SPANDREL_DIR not set: name a checkout of spandrel")
    git = shutil.which("git")
    if not git:
        pytest.skip("git is not installed, which applies the patch")
    folder = tmp_path_factory.mktemp("spandrel") / "spandrel"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".git"))
    for part in ("libs", "tests"):
        shutil.copytree(PULL_REQUEST / part, folder / part, dirs_exist_ok=True)
    patch = PULL_REQUEST / "registry-and-readme.patch"
    subprocess.run([git, "apply", str(patch)], cwd=folder, check=True)
    models = folder / "tests" / "models"
    models.mkdir(exist_ok=True)
    shutil.copy(spanpp_core.bundled_model(), models)
    return Checkout(folder)


def test_no_file_of_spandrel_is_overwritten(checkout: Checkout):
    original = Path(os.environ["SPANDREL_DIR"])
    files = [f for p in ("libs", "tests") for f in (PULL_REQUEST / p).rglob("*.*")]
    assert len(files) >= 8
    for file in files:
        assert not (original / file.relative_to(PULL_REQUEST)).exists(), (
            f"spandrel has {file.name} now"
        )


def test_spandrels_own_tests_pass(checkout: Checkout):
    """Its tests of SpanPP, of the registry, and of every architecture's detection."""
    if checkout.run("-c", "import syrupy, cv2, bs4, requests").returncode:
        pytest.skip("SPANDREL_PYTHON has not spandrel's requirements-dev.txt")
    ours = checkout.run("-m", "pytest", "-q", "tests/test_SpanPP.py")
    assert re.search(r"\b4 passed", ours.stdout), ours.stdout
    others = ("test_registry.py", "test_size_req.py", "test_SPAN.py", "test_MoSR.py")
    done = checkout.run(
        "-m",
        "pytest",
        "-q",
        *(f"tests/{name}" for name in others),
        "-k",
        "load or registry or init",
    )
    assert re.search(r"\d passed", done.stdout), done.stdout
    assert "failed" not in done.stdout, done.stdout


def test_a_stranger_reads_the_bundled_file(checkout: Checkout, tmp_path: Path):
    image = torch.rand(1, 3, 37, 52)
    torch.save(image, tmp_path / "in.pt")
    done = checkout.run(
        "-c",
        UPSCALE,
        str(spanpp_core.bundled_model()),
        str(tmp_path / "in.pt"),
        str(tmp_path / "out.pt"),
    )
    assert "READ SpanPP 2" in done.stdout, done.stdout
    made = torch.load(tmp_path / "out.pt", weights_only=True)
    ours = spanpp_core.load(spanpp_core.bundled_model())
    torch.testing.assert_close(made, ours(image), rtol=0, atol=1e-5)
