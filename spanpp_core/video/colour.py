"""Between planes of Y'CbCr as stored and RGB in [0, 1], at any depth. Pure functions.

Formulas and code points are those of ITU-T H.273. Chroma is taken to lie at the left, as
MPEG-2, H.264 and H.265 have it where nothing else is said: on every other column, and
between two rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

UNSPECIFIED = 2
"""The code point of primaries, transfer and matrix where a file does not say."""

BT709 = 1
SMPTE170M = 6

LUMA = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    SMPTE170M: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Shares of red and blue in luma, by the code point of the matrix."""

HD_HEIGHT = 720
"""Rows from which players take an untagged video for BT.709, and below for BT.601."""


@dataclass(frozen=True)
class Encoding:
    """How numbers on disk stand for colours."""

    bits: int
    """Per sample: 8 to 16."""
    matrix: int
    """A code point of `LUMA`."""
    full_range: bool
    """Whether black is 0, and not 16 of 255."""

    @property
    def black(self) -> int:
        """What luma is for black."""
        return 0 if self.full_range else 16 << (self.bits - 8)

    @property
    def luma_span(self) -> int:
        """Steps from black to white."""
        return (1 << self.bits) - 1 if self.full_range else 219 << (self.bits - 8)

    @property
    def chroma_span(self) -> int:
        """Steps from the least chroma to the largest."""
        return (1 << self.bits) - 1 if self.full_range else 224 << (self.bits - 8)


def matrix_of(tag: int, height: int) -> int | None:
    """Returns the matrix of a video: its tag's, or what players assume without one.

    Args:
        tag: The code point in the file.
        height: Rows of the video.

    Returns:
        A code point of `LUMA`, or None if the tag is of a matrix that is not there.
    """
    if tag in LUMA:
        return tag
    if tag == UNSPECIFIED:
        return BT709 if height >= HD_HEIGHT else SMPTE170M
    return None


def to_rgb(planes: Sequence[Tensor], encoding: Encoding) -> Tensor:
    """Converts one frame to (1, 3, H, W) float32 in [0, 1].

    Args:
        planes: Y', Cb and Cr, or Y' alone; each (H, W) of whole numbers, chroma of the
            same size or half in one or both directions.
        encoding: What the numbers mean.
    """
    luma = planes[0].float().sub_(encoding.black).div_(encoding.luma_span)
    if len(planes) == 1:
        return luma.clamp_(0, 1).expand(1, 3, -1, -1)
    half = 1 << (encoding.bits - 1)
    cb, cr = (
        _upsampled(plane.float().sub_(half).div_(encoding.chroma_span), luma.shape)
        for plane in planes[1:]
    )
    red_share, blue_share = LUMA[encoding.matrix]
    red = luma + 2 * (1 - red_share) * cr
    blue = luma + 2 * (1 - blue_share) * cb
    green = (luma - red_share * red - blue_share * blue) / (1 - red_share - blue_share)
    return torch.stack([red, green, blue])[None].clamp_(0, 1)


def to_planes(
    rgb: Tensor, encoding: Encoding, halved: tuple[bool, bool]
) -> list[Tensor]:
    """Converts (1, 3, H, W) in [0, 1] to planes of Y', Cb and Cr, each (H, W) int32.

    Args:
        rgb: The frame; of even height or width where chroma is halved.
        encoding: What the numbers will mean.
        halved: Whether chroma has half the rows, and half the columns.
    """
    red, green, blue = rgb[0].float()
    red_share, blue_share = LUMA[encoding.matrix]
    green_share = 1 - red_share - blue_share
    luma = red_share * red + green_share * green + blue_share * blue
    cb = (blue - luma) / (2 * (1 - blue_share))
    cr = (red - luma) / (2 * (1 - red_share))
    top, half = (1 << encoding.bits) - 1, 1 << (encoding.bits - 1)
    planes = [luma * encoding.luma_span + encoding.black]
    planes += [
        _downsampled(plane, halved) * encoding.chroma_span + half for plane in (cb, cr)
    ]
    return [plane.round_().clamp_(0, top).int() for plane in planes]


def _upsampled(plane: Tensor, size: Sequence[int]) -> Tensor:
    """Brings chroma to the size of luma, (H, W), linearly."""
    height, width = size
    if plane.shape[0] != height:
        rows = 2 * plane.shape[0]
        plane = F.interpolate(
            plane[None, None], (rows, plane.shape[1]), mode="bilinear"
        )[0, 0, :height]
    if plane.shape[1] != width:
        right = torch.cat([plane[:, 1:], plane[:, -1:]], dim=1)
        between = (plane + right) / 2
        plane = torch.stack([plane, between], dim=2).flatten(1)[:, :width]
    return plane


def _downsampled(plane: Tensor, halved: tuple[bool, bool]) -> Tensor:
    """Takes chroma where it is stored: the mean of two rows, around every other column."""
    rows, columns = halved
    if rows:
        plane = (plane[0::2] + plane[1::2]) / 2
    if columns:
        left = torch.cat([plane[:, :1], plane[:, 1:-1:2]], dim=1)
        plane = (left + 2 * plane[:, 0::2] + plane[:, 1::2]) / 4
    return plane
