"""Images in memory as a file: nothing is lost but what rounding takes."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest
import torch

from spanpp_core.errors import VideoError
from spanpp_core.video import Sound, write_images
from spanpp_core.video.decoder import decoded, pixels
from spanpp_core.video.source import probe


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(7, 41, 51, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("bits", [8, 10, 16])
def test_every_value_comes_back_at_any_size(tmp_path, images, bits, suffix):
    path = tmp_path / f"made{suffix}"
    write_images(path, images, Fraction(30000, 1001), bits=bits, sound=None)
    clip = probe(path)
    frames = list(decoded(clip))
    if suffix == ".mp4":
        times = [pts * clip.time_base for pts, _, _ in frames]
        assert times == [i / Fraction(30000, 1001) for i in range(len(images))]
    found = [pixels(clip, frame, images.device) for _, _, frame in frames]
    steps = (1 << bits) - 1
    back = torch.cat(found).movedim(1, -1)
    assert torch.equal((back * steps).round(), (images * steps).round())
    assert clip.rate == Fraction(30000, 1001)
    assert clip.encoding.bits == bits


@pytest.mark.parametrize("bits", [8, 10])
def test_grey_images_have_three_equal_colours_and_alpha_goes(tmp_path, images, bits):
    for name, given in (
        ("grey", images[..., :1]),
        ("alpha", images[..., [0, 0, 0, 1]]),
    ):
        write_images(
            tmp_path / f"{name}.mkv", given, Fraction(25), bits=bits, sound=None
        )
    grey, alpha = (
        (tmp_path / f"{name}.mkv").read_bytes() for name in ("grey", "alpha")
    )
    assert grey == alpha


def test_no_images_are_no_video(tmp_path, images):
    with pytest.raises(VideoError, match="no images"):
        write_images(tmp_path / "made.mkv", images[:0], Fraction(25), sound=None)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
@pytest.mark.parametrize("rate", [44100, 37000])
def test_sound_is_as_long_as_the_images(tmp_path, images, channels, rate):
    path = tmp_path / "made.mkv"
    sound = Sound(torch.zeros(channels, 10 * rate), rate)
    write_images(path, images, Fraction(25), sound=sound)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        seconds = sum(f.samples for f in container.decode(stream)) / stream.rate
    assert seconds == pytest.approx(7 / 25, abs=0.05)


def test_equal_images_are_equal_files(tmp_path, images):
    sound = Sound(torch.rand(2, 20000), 48000)
    made = []
    for name in ("one.mp4", "two.mp4"):
        write_images(tmp_path / name, images, Fraction(25), sound=sound)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
