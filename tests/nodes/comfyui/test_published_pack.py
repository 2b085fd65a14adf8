"""What the registry gets: all that ComfyUI needs, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from stand_in_host import PACK, stand_in_host

FORBIDDEN = re.compile(r"subprocess|os\.system|(?<![.\w])(?:eval|exec)\(|[\"']pip[\"']")
"""
What the registry's standards rule out in the code of a pack: running other code, and
installing packages. A message may name the command that a person can type.
"""

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


def test_it_keeps_to_the_standards_of_the_registry(pack: Path) -> None:
    for path in pack.rglob("*.py"):
        code = path.read_text("utf-8")
        found = FORBIDDEN.findall(code)
        assert not found, f"{path.relative_to(pack)} has {found}"


def test_it_is_small_and_holds_what_people_see(pack: Path) -> None:
    assert sum(path.stat().st_size for path in pack.rglob("*.*")) < MOST_BYTES
    for name in ("LICENSE", "README.md", "pyproject.toml", "requirements.txt"):
        assert (pack / name).is_file()
    for name in ("workflows", "subgraphs", "locales", "web/docs"):
        assert any((pack / name).iterdir())
    assert not (pack / "tests").exists()
