"""Writes where the repository is into what is published: pyproject.toml and README.md.

    python .ci/name_repository.py OWNER/NAME --ref v0.1.0 [--registry]

The repository itself does not say where it is, so that a fork publishes links to itself.
`publish.yml` runs this on its own copy, with the name that GitHub gives it.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

REGISTRY_CLASSIFIERS = (
    "Environment :: GPU :: AMD ROCm",
    "Environment :: GPU :: Apple Metal",
)
"""What ComfyUI's registry knows, and PyPI refuses."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)]+)\)")


def name_repository(root: Path, repository: str, ref: str, *, registry: bool) -> None:
    """Adds links to a copy of the repository.

    Args:
        root: The folder of the copy.
        repository: OWNER/NAME.
        ref: A tag or a branch that the links lead to.
        registry: Whether ComfyUI's registry gets it, rather than PyPI.

    Raises:
        SystemExit: The name is not one, or links are there already.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise SystemExit(f"{repository!r} is not OWNER/NAME")
    page = f"https://github.com/{repository}"
    raw = f"https://raw.githubusercontent.com/{repository}/{ref}"
    path = root / "pyproject.toml"
    project = path.read_text("utf-8")
    if "[project.urls]" in project:
        raise SystemExit("pyproject.toml has [project.urls] already")
    urls = {
        "Repository": page,
        "Documentation": f"{page}/blob/{ref}/README.md",
        "Changelog": f"{page}/blob/{ref}/CHANGELOG.md",
        "Issues": f"{page}/issues",
    }
    table = "\n".join(f'{name} = "{url}"' for name, url in urls.items())
    pictures = (
        f'Icon = "{raw}/docs/pictures/icon.png"\n'
        f'Banner = "{raw}/docs/pictures/banner.png"\n'
    )
    project = project.replace(
        "[project.scripts]", f"[project.urls]\n{table}\n\n[project.scripts]"
    )
    project = project.replace("[tool.comfy]\n", f"[tool.comfy]\n{pictures}")
    if registry:
        more = "".join(f'    "{each}",\n' for each in REGISTRY_CLASSIFIERS)
        project = project.replace("classifiers = [\n", f"classifiers = [\n{more}")
    path.write_text(project, "utf-8", newline="\n")
    readme = root / "README.md"

    def absolute(link: re.Match[str]) -> str:
        mark, text, target = link.groups()
        base = raw if mark else f"{page}/blob/{ref}"
        return f"{mark}[{text}]({base}/{target})"

    text = LINK.sub(absolute, readme.read_text("utf-8"))
    readme.write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repository", help="OWNER/NAME")
    parser.add_argument("--ref", required=True, help="the tag that links lead to")
    parser.add_argument(
        "--registry", action="store_true", help="for ComfyUI's registry"
    )
    given = parser.parse_args()
    root = Path(__file__).parents[1]
    name_repository(root, given.repository, given.ref, registry=given.registry)
