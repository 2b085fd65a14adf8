"""Compare and Demo Photo."""

from __future__ import annotations

import pytest
import torch
from node_calls import images
from stand_in_host import Host


def test_compare_is_half_before_and_half_after(host: Host) -> None:
    before, after = torch.zeros(1, 4, 5, 3), torch.full((1, 8, 10, 3), 0.5)
    output = host.node("SpanPPCompare").execute(before, after, 0.5)
    (view,) = output.values
    assert view.shape == after.shape
    assert view[0, 0, :4].max() == 0
    assert view[0, 0, 6:].eq(0.5).all()
    assert torch.equal(output.ui["images"][0], view[0])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_compare_shows_one_picture_of_a_batch_in_colour(
    host: Host, channels: int
) -> None:
    before, after = images(5, 4, 4, channels), images(5, 8, 8, channels)
    output = host.node("SpanPPCompare").execute(before, after, 0.5)
    (shown,) = output.ui["images"]
    assert shown.shape[-1] == max(channels, 3)
    assert output.values[0].shape == after.shape
    assert "first of 5 frames" in output.ui["text"][0]


def test_compare_leaves_out_alpha_that_only_one_picture_has(host: Host) -> None:
    before, after = images(1, 4, 4, 3), images(1, 8, 8, 4)
    node = host.node("SpanPPCompare")
    expected = node.execute(before, after[..., :3], 0.5).values[0]
    assert torch.equal(node.execute(before, after, 0.5).values[0], expected)
    with pytest.raises(ValueError, match="1 images of 3 channels with 1 of 1"):
        node.execute(before, after[..., :1], 0.5)


def test_demo_photo_is_small_and_pans(host: Host) -> None:
    node = host.node("SpanPPDemoPhoto")
    (photo,) = node.execute(128, 1).values
    (frames,) = node.execute(128, 5).values
    assert max(photo.shape[1:3]) == 128
    assert 0 <= photo.min() < photo.max() <= 1
    assert frames.shape == (5, photo.shape[1], photo.shape[2] - 8, 3)
    assert torch.equal(frames[1, :, :-2], frames[0, :, 2:])
    with pytest.raises(ValueError, match="frames need a photo wider than 126 pixels"):
        node.execute(64, 64)


def test_demo_photo_as_a_jpeg_is_near_it_and_shows_blocks(host: Host) -> None:
    node = host.node("SpanPPDemoPhoto")
    (photo,) = node.execute(128, 1).values
    (stored,) = node.execute(128, 1, 40).values
    assert stored.shape == photo.shape
    difference = (stored - photo).abs()
    assert 0.005 < difference.mean() < 0.05
    columns = (stored[:, :, 1:] - stored[:, :, :-1]).abs().mean((0, 1, 3))
    edges = columns[7::8].mean()
    assert edges > 1.05 * columns.mean(), "borders of blocks of 8 pixels are seen"
