"""What is published says where the repository is, and the repository itself does not."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "name_repository.py"

if not SCRIPT.is_file():
    pytest.skip("not a checkout of the repository", allow_module_level=True)

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 has it")
NAMED = runpy.run_path(str(SCRIPT))
PAGE = "https://github.com/someone/a-fork"
RAW = "https://raw.githubusercontent.com/someone/a-fork/v1.2"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_the_repository_does_not_say_where_it_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "urls" not in project["project"]


@pytest.mark.parametrize("registry", [True, False])
def test_both_registries_get_links(copy: Path, registry: bool) -> None:
    NAMED["name_repository"](copy, "someone/a-fork", "v1.2", registry=registry)
    named = tomllib.loads((copy / "pyproject.toml").read_text("utf-8"))
    assert named["project"]["urls"]["Repository"] == PAGE
    assert named["project"]["urls"]["Issues"] == f"{PAGE}/issues"
    comfy = named["tool"]["comfy"]
    assert comfy["Icon"] == f"{RAW}/docs/pictures/icon.png"
    assert comfy["Banner"] == f"{RAW}/docs/pictures/banner.png"
    assert comfy["requires-comfyui"]
    classifiers = named["project"]["classifiers"]
    assert "Environment :: GPU :: NVIDIA CUDA" in classifiers
    assert ("Environment :: GPU :: AMD ROCm" in classifiers) == registry


def test_every_link_of_the_readme_leads_to_a_file_and_becomes_absolute(
    copy: Path,
) -> None:
    before = NAMED["LINK"].findall((ROOT / "README.md").read_text("utf-8"))
    assert before
    for _, _, target in before:
        assert (ROOT / target.partition("#")[0]).exists(), target
    NAMED["name_repository"](copy, "someone/a-fork", "v1.2", registry=False)
    readme = (copy / "README.md").read_text("utf-8")
    assert not NAMED["LINK"].search(readme)
    assert f"]({RAW}/docs/pictures/" in readme
    assert f"]({PAGE}/blob/v1.2/docs/comfyui.md)" in readme


def test_wrong_names_and_a_second_time_are_refused(copy: Path) -> None:
    with pytest.raises(SystemExit, match="is not OWNER/NAME"):
        NAMED["name_repository"](copy, "someone", "v1.2", registry=True)
    NAMED["name_repository"](copy, "someone/a-fork", "v1.2", registry=True)
    with pytest.raises(SystemExit, match="already"):
        NAMED["name_repository"](copy, "someone/a-fork", "v1.2", registry=True)


def test_icon_and_banner_have_the_shapes_that_the_registry_wants() -> None:
    icon, banner = (
        Image.open(ROOT / "docs" / "pictures" / f"{name}.png").size
        for name in ("icon", "banner")
    )
    assert icon[0] == icon[1] <= 400
    assert banner[0] * 9 == banner[1] * 21


def test_the_workflows_run_what_is_there() -> None:
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = workflow.read_text("utf-8")
        assert ".ci/" in text, f"{workflow.name} runs none of the scripts of .ci"
        for line in text.splitlines():
            for word in line.split():
                if word.startswith(".ci/"):
                    assert (ROOT / word).is_file(), line
