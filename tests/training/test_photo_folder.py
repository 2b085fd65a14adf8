"""The photos of a folder."""

from __future__ import annotations

import os

import pytest
import torch
from PIL import Image

from spanpp_core import images
from spanpp_core.errors import TrainingError
from spanpp_core.training import photo_folder


@pytest.fixture
def photos(tmp_path):
    made = tmp_path / "photos"
    made.mkdir()
    for name, channels in (("colour", 3), ("grey", 1), ("alpha", 4)):
        pixels = torch.rand(1, channels, 20, 24)
        images.write(made / f"{name}.png", images.Picture(pixels, 8))
    return made


def test_grey_photos_and_those_with_alpha_are_validated_with_too(photos):
    assert [tuple(photo.shape) for photo in photo_folder.whole(photos)] == [
        (1, 3, 20, 24)
    ] * 3


def test_photos_are_upright_as_their_exif_data_say(tmp_path):
    taken, out = tmp_path / "taken", tmp_path / "run"
    taken.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (40, 20)).save(taken / "phone.jpg", exif=exif)
    assert [tuple(photo.shape) for photo in photo_folder.whole(taken)] == [
        (1, 3, 40, 20)
    ]
    assert tuple(photo_folder.packed(taken, out, 10).at(0, 0).shape) == (40, 20, 3)


def test_other_photos_are_noticed(photos):
    before = photo_folder.digest(photos)
    assert photo_folder.digest(photos) == before
    os.utime(photos / "grey.png", (1, 1))
    assert photo_folder.digest(photos) != before


def test_nothing_is_made_when_no_photo_is_large_enough(tmp_path, photos):
    with pytest.raises(TrainingError, match="no photo whose shorter side is 50 px"):
        photo_folder.packed(photos, tmp_path / "run", 50)
    assert not (tmp_path / "run").exists()


def test_files_that_are_no_images_are_named_and_left_out(tmp_path, photos):
    (photos / "broken.png").write_bytes(b"nothing")
    skipped = []
    found = photo_folder.packed(photos, tmp_path / "run", 10, skipped.append)
    assert len(found) == 3
    assert ["broken.png" in str(error) for error in skipped] == [True]


def test_hidden_files_and_folders_called_as_images_are_no_photos(photos):
    """macOS puts a file that is hidden and no image beside each on other disks."""
    before = photo_folder.digest(photos)
    (photos / "._grey.png").write_bytes(b"Mac OS X")
    (photos / ".thumbnails").mkdir()
    (photos / ".thumbnails" / "grey.png").write_bytes(b"nothing")
    (photos / "folder.png").mkdir()
    (photos / "gone.png").symlink_to(photos / "absent.png")
    assert photo_folder.digest(photos) == before
    assert len(photo_folder.whole(photos)) == 3


def test_photos_that_could_not_be_packed_leave_nothing(tmp_path, photos, monkeypatch):
    out = tmp_path / "run"
    photo_folder.packed(photos, out, 10)
    os.utime(photos / "grey.png", (1, 1))
    monkeypatch.setattr(images, "read", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        photo_folder.packed(photos, out, 10)
    monkeypatch.undo()
    assert not list(out.glob("*.partial*"))
    assert len(photo_folder.packed(photos, out, 10)) == 3
