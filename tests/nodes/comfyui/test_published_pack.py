"""What the registry gets: all that ComfyUI needs, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stand_in_host import PACK, stand_in_host

FORBIDDEN = re.compile(
    r"subprocess|os\.environ|os\.system|os\.popen|getenv|ctypes|import_module|__import__"
    r"|tempfile|pip install|[\"']pip[\"']|socket|\.connect\(|\.bind\(|urllib|requests"
    r"|\beval\(|\bexec\(|new Function|pickle\.load|marshal|base64|http\.client",
    re.IGNORECASE,
)
"""
What the registry's scanner takes for code that runs other code, installs packages or
talks to a network, wherever it stands: a version with one hit is not served.
"""

TEXT = (".py", ".js", ".json", ".md", ".toml", ".txt", ".css", ".svg", ".html", "")

LINK = re.compile(r"\]\(([^)#]+)[^)]*\)|(?:src|href)=\"([^\"#]+)\"")

MOST_BYTES = 5 * 2**20


def published() -> list[Path]:
    """The tracked files that .comfyignore leaves, relative to the pack."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607
        cwd=PACK,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a git checkout: what is published is what git tracks")
    lines = (PACK / ".comfyignore").read_text("utf-8").splitlines()
    left_out = [line.strip("/") for line in lines if line and not line.startswith("#")]
    return [
        Path(name)
        for name in listing.stdout.split("\0")
        if name and not any(f"{name}/".startswith(f"{each}/") for each in left_out)
    ]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    root = tmp_path / "spanpp"
    for path in published():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACK / path, root / path)
    return root


def test_it_loads_and_upscales_alone(pack: Path, tmp_path: Path) -> None:
    with stand_in_host(tmp_path / "output", newer=True, pack=pack) as host:
        assert Path(host.core.__file__ or "").is_relative_to(pack)
        model = host.node("SpanPPLoadModel").execute("bundled").values[0]
        image = torch.rand(1, 8, 8, 3)
        result = host.node("SpanPPUpscale").execute(
            model, image, {"size": "model scale"}
        )
        assert result.values[0].shape == (1, 16, 16, 3)


def texts(pack: Path) -> list[Path]:
    return [path for path in pack.rglob("*") if path.is_file() and path.suffix in TEXT]


def test_no_file_holds_what_the_registry_scans_for(pack: Path) -> None:
    found = {
        f"{path.relative_to(pack)}:{number}: {line.strip()}"
        for path in texts(pack)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if FORBIDDEN.search(line)
    }
    assert not found, "write it without, or leave the file out by .comfyignore:\n" + (
        "\n".join(sorted(found))
    )


def test_links_in_its_pages_lead_somewhere(pack: Path) -> None:
    for page in pack.rglob("*.md"):
        for link in map("".join, LINK.findall(page.read_text("utf-8"))):
            if "://" not in link:
                assert (page.parent / link).exists(), (
                    f"{page.relative_to(pack)}: {link}"
                )


def test_every_module_of_it_can_be_imported(pack: Path) -> None:
    code = """
import importlib, pkgutil, sys
import spanpp_core
for info in pkgutil.walk_packages(spanpp_core.__path__, "spanpp_core."):
    if info.name.endswith(("triton_kernels", ".vips", ".pillow")):
        continue  # libraries that are not in every ComfyUI
    importlib.import_module(info.name)
print(len([name for name in sys.modules if name.startswith("spanpp_core")]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=pack,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(pack)},
    )
    assert not done.returncode, done.stderr
    assert int(done.stdout) > 50


def test_it_is_small_and_holds_what_people_see(pack: Path) -> None:
    assert sum(path.stat().st_size for path in pack.rglob("*.*")) < MOST_BYTES
    for name in (
        "LICENSE",
        "nodes/comfyui/README.md",
        "pyproject.toml",
        "requirements.txt",
    ):
        assert (pack / name).is_file()
    for name in ("workflows", "subgraphs", "locales", "web/docs"):
        assert any((pack / name).iterdir())
    assert not (pack / "tests").exists()
