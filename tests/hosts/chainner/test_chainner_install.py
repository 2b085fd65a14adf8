"""Installing into, and trouble in, a throw-away Python of chaiNNer's."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from chainner_backend import (
    MISSING,
    PYTHON,
    SOURCE,
    running_backend,
    site_packages,
    spanpp_chainner,
    throwaway_python,
)

pytestmark = pytest.mark.skipif(not (SOURCE and PYTHON), reason=MISSING)


def freeze(python: Path) -> str:
    return subprocess.run(
        [python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True
    ).stdout


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in folder.rglob("*")
    }


def test_uninstall_leaves_everything_as_it_was(tmp_path: Path):
    python = throwaway_python(tmp_path / "venv")
    packages, files = freeze(python), tree(tmp_path / "venv")

    planned = spanpp_chainner("install", "--dry-run", "--python", python)
    assert "would install" in planned.stdout
    assert tree(tmp_path / "venv") == files, "a dry run changed something"

    assert spanpp_chainner("install", "--python", python).returncode == 0
    added = set(freeze(python).splitlines()) - set(packages.splitlines())
    assert [line.partition("==")[0] for line in added] == ["spanpp-chainner"]
    assert "spanpp-chainner 0" in spanpp_chainner("status", "--python", python).stdout
    with running_backend(python, tmp_path / "backend"):
        pass  # which compiles and caches our modules

    planned = spanpp_chainner("uninstall", "--dry-run", "--python", python)
    assert "would remove" in planned.stdout
    assert spanpp_chainner("uninstall", "--python", python).returncode == 0
    assert freeze(python) == packages
    assert tree(tmp_path / "venv") == files
    again = spanpp_chainner("uninstall", "--python", python)
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True)


TROUBLE = {
    "broken core": ("spanpp_core/__init__.py", "raise RuntimeError('broken')\n"),
    "core that exits": ("spanpp_core/__init__.py", "raise SystemExit(1)\n"),
    "core that is no Python": ("spanpp_core/__init__.py", "def (:\n"),
    "missing torch": ("torch.py", "raise ModuleNotFoundError('torch')\n"),
    "wrong spandrel": ("spandrel/__init__.py", "class ModelDescriptor: pass\n"),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_backend_starts_whatever_is_wrong_with_us(tmp_path: Path, trouble: str):
    python = throwaway_python(tmp_path / "venv")
    assert spanpp_chainner("install", "--python", python).returncode == 0
    name, content = TROUBLE[trouble]
    file = site_packages(python) / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    with running_backend(python, tmp_path / "backend") as backend:
        ids = {node["schemaId"] for node in backend.get("/nodes")["nodes"]}
        assert "chainner:image:load" in ids
        assert not any(schema_id.startswith("spanpp:") for schema_id in ids)
        warnings = [
            line
            for line in backend.log.splitlines()
            if "SpanPP's nodes are not" in line
        ]
    assert len(warnings) == 1, backend.log


def test_missing_torch_is_explained(tmp_path: Path):
    assert PYTHON
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [PYTHON, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True
    )
    done = spanpp_chainner("install", "--python", python)
    assert done.returncode == 2
    assert "torch not found" in done.stderr
    assert "dependency manager" in done.stderr
