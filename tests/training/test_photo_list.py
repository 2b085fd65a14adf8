"""The list of photos to train on, and what gathers them."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

LIST = Path(__file__).parents[2] / "recipes" / "photos.csv"

pytestmark = pytest.mark.skipif(
    not LIST.is_file(), reason="the list is in the repository alone"
)


@pytest.fixture
def rows() -> list[dict[str, str]]:
    with LIST.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def gather() -> ModuleType:
    path = LIST.with_name("gather_photos.py")
    spec = importlib.util.spec_from_file_location("gather_photos", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def picture() -> bytes:
    """A PNG of 40x20 pixels: column c has red 5 * c."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[..., 0] = 5 * np.arange(40)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def photo(gather, source, picture, **changes):
    one = gather.Photo(
        source, "some-package", "1.0", "art/a.png", 1, (), 1, "photo", ""
    )
    return one._replace(sha256=hashlib.sha256(picture).hexdigest(), **changes)


def tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def kept(folder: Path, source: str) -> Path:
    """The folder in which the package was left by a run before."""
    path = folder / f"{source}-some-package-1.0"
    path.mkdir(parents=True)
    return path


def test_each_photo_names_its_package_licence_and_hash_and_is_there_once(rows):
    assert rows
    for row in rows:
        assert row["source"] in ("debian", "github", "npm", "pypi")
        assert row["package"]
        assert row["version"]
        assert row["file"]
        assert row["licence"]
        assert len(bytes.fromhex(row["sha256"])) == 32
        assert int(row["reduced"]) in (1, 2, 3, 4)
        assert int(row["pack"]) in (0, 1, 2, 3)
        assert row["kind"] in ("photo", "drawing", "screen")
    assert len({row["sha256"] for row in rows}) == len(rows)


def test_each_repository_is_named_with_a_whole_commit(rows):
    for row in rows:
        if row["source"] == "github":
            assert len(bytes.fromhex(row["version"])) == 20, row["package"]
            assert row["package"].count("/") == 1


def test_every_patch_of_the_recipes_fits_into_every_photo(rows):
    """72 low-resolution pixels and 4 around them, at x4."""
    trained = [row for row in rows if row["pack"] in ("1", "2")]
    assert len(trained) >= 500
    for row in trained:
        _, _, width, height = map(int, row["cut"].split())
        assert min(width, height) >= (72 + 2 * 4) * 4, row["file"]


def test_a_photograph_of_pack_3_is_whole_and_comes_from_a_commit(rows):
    further = [row for row in rows if row["pack"] == "3"]
    assert len(further) >= 150
    for row in further:
        assert row["cut"] == "", row["file"]
        assert row["source"] == "github"


@pytest.mark.parametrize(
    ("options", "packs", "kinds", "cut"),
    [
        ([], {1, 2}, {"photo", "drawing", "screen"}, True),
        (["--packs", "3"], {3}, {"photo"}, False),
        (["--packs", "0", "1", "--kinds", "screen"], {0, 1}, {"screen"}, True),
        (["--whole"], {1, 2}, {"photo", "drawing", "screen"}, False),
    ],
)
def test_what_is_gathered_is_chosen_by_pack_and_kind(
    gather, monkeypatch, tmp_path, options, packs, kinds, cut
):
    asked = []
    monkeypatch.setattr(
        gather, "gathered", lambda listed, *_: asked.extend(listed) or []
    )
    monkeypatch.setattr("sys.argv", ["gather_photos.py", str(tmp_path), *options])
    with pytest.raises(SystemExit) as left:
        gather.main()
    assert left.value.code == 0
    assert {photo.pack for _, photo in asked} == packs
    assert {photo.kind for _, photo in asked} == kinds
    assert any(photo.cut for _, photo in asked) == cut


def test_a_photo_is_made_smaller_and_its_part_is_cut_out(gather, picture):
    image = gather.prepared(picture, 2, (4, 1, 10, 8))
    assert image.size == (10, 8)
    red = np.asarray(image)[..., 0].astype(float)
    expected = 5 * (2 * np.arange(4, 14) + 0.5)
    assert np.abs(red - expected).max() <= 1


def test_what_is_transparent_becomes_white(gather):
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(buffer, "PNG")
    assert np.asarray(gather.prepared(buffer.getvalue(), 1, ())).min() == 255


def test_an_npm_package_gives_the_listed_file_alone(gather, picture, tmp_path):
    package = kept(tmp_path / "keep", "npm") / "p.tgz"
    tar(package, {"art/a.png": picture, "art/b.png": b"no", "../../out.png": picture})
    out = tmp_path / "out"
    out.mkdir()
    one = photo(gather, "npm", picture)
    assert gather.gathered([("1", one)], out, tmp_path / "keep", None) == []
    assert [path.name for path in out.iterdir()] == ["1.png"]
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {package, out / "1.png"}


def test_a_link_in_an_archive_is_not_followed(gather, picture, tmp_path):
    (tmp_path / "secret.png").write_bytes(picture)
    with tarfile.open(kept(tmp_path / "keep", "npm") / "p.tgz", "w:gz") as archive:
        link = tarfile.TarInfo("art/a.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.png")
        archive.addfile(link)
    (tmp_path / "out").mkdir()
    one = photo(gather, "npm", picture)
    left = gather.gathered([("1", one)], tmp_path / "out", tmp_path / "keep", None)
    assert left == [one]


@pytest.mark.parametrize("broken", [b"", b"not a wheel"])
def test_a_wheel_that_is_broken_is_named_and_left_out(
    gather, picture, tmp_path, capsys, broken
):
    (kept(tmp_path / "keep", "pypi") / "p.whl").write_bytes(broken)
    one = photo(gather, "pypi", picture)
    assert gather.gathered([("1", one)], tmp_path, tmp_path / "keep", None) == [one]
    assert "not found: some-package 1.0: art/a.png" in capsys.readouterr().out


def test_a_file_of_another_hash_is_left_out(gather, picture, tmp_path):
    with zipfile.ZipFile(kept(tmp_path / "keep", "pypi") / "p.whl", "w") as archive:
        archive.writestr("art/a.png", picture + b"more")
    one = photo(gather, "pypi", picture)
    assert gather.gathered([("1", one)], tmp_path, tmp_path / "keep", None) == [one]
    assert not (tmp_path / "1.png").exists()


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_a_commit_gives_its_file_without_a_checkout(gather, picture, tmp_path):
    folder = kept(tmp_path / "keep", "github")
    (folder / "art").mkdir()
    (folder / "art" / "a.png").write_bytes(picture)
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    for command in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "a")):
        assert gather.run("git", *command, inside=folder) is not None
    commit = gather.run("git", "rev-parse", "HEAD", inside=folder).decode().strip()
    folder.rename(folder.with_name(f"github-some-package-{commit}"))
    shutil.rmtree(folder.with_name(f"github-some-package-{commit}") / "art")
    one = photo(gather, "github", picture, version=commit)
    assert gather.gathered([("1", one)], tmp_path, tmp_path / "keep", 90) == []
    assert any((tmp_path / f"1{ending}").exists() for ending in (".png", ".jpg"))
