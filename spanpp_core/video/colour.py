"""Between planes of Y'CbCr as stored and RGB in [0, 1], at any depth. Pure functions.

Formulas and code points are those of ITU-T H.273. Chroma is taken to lie at the left, as
MPEG-2, H.264 and H.265 have it where nothing else is said: on every other column, and
between two rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

UNSPECIFIED = 2
"""The code point of primaries, transfer and matrix where a file does not say."""

HLG = 18
"""
The code point of hybrid log-gamma (ITU-R BT.2100), which has highlights above white: in
all other transfers, what lies there is noise of the codec.
"""

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


SERIAL_VALUES = 2**15
"""
PyTorch computes fewer values than this on the calling thread. Bands of so many stay in a
core's cache, and leave the other cores to the network.
"""


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


def to_rgb(
    planes: Sequence[Tensor], encoding: Encoding, *, most: float = 1.0
) -> Tensor:
    """Converts one frame to (1, 3, H, W) float32 in [0, ``most``].

    Args:
        planes: Y', Cb and Cr, or Y' alone; each (H, W) of integers, see `to_planes`;
            chroma of the same size, or half of it in one or both directions.
        encoding: What the numbers mean.
        most: Up to where values above white are kept.
    """
    height, width = planes[0].shape
    rgb = torch.empty(3, height, width, device=planes[0].device)
    red_share, blue_share = LUMA[encoding.matrix]
    green_share = 1 - red_share - blue_share
    for rows in _bands(rgb):
        luma = values(planes[0][rows]).sub_(encoding.black).div_(encoding.luma_span)
        red, green, blue = rgb[:, rows].unbind()
        if len(planes) == 1:
            for channel in (red, green, blue):
                torch.clamp(luma, 0, most, out=channel)
            continue
        cb, cr = (
            _upsampled(plane, rows, (height, width))
            .sub_(1 << (encoding.bits - 1))
            .div_(encoding.chroma_span)
            for plane in planes[1:]
        )
        torch.add(luma, cr, alpha=2 * (1 - red_share), out=red)
        torch.add(luma, cb, alpha=2 * (1 - blue_share), out=blue)
        luma.sub_(red, alpha=red_share).sub_(blue, alpha=blue_share)
        torch.div(luma, green_share, out=green)
        for channel in (red, green, blue):
            channel.clamp_(0, most)
    return rgb[None]


def to_planes(
    rgb: Tensor, encoding: Encoding, halved: tuple[bool, bool]
) -> list[Tensor]:
    """Converts (1, 3, H, W) in [0, 1] to planes of Y', Cb and Cr.

    Args:
        rgb: The frame; of even height or width where chroma is halved.
        encoding: What the numbers will mean.
        halved: Whether chroma has half the rows, and half the columns.

    Returns:
        Each (H, W), uint8, or for more than 8 bits int16 that holds the bits of uint16:
        see `values`. On the device of ``rgb``.
    """
    height, width = rgb.shape[2:]
    dtype = torch.uint8 if encoding.bits == 8 else torch.int16
    size = (height // 2 if halved[0] else height, width // 2 if halved[1] else width)
    made = [
        torch.empty(shape, dtype=dtype, device=rgb.device)
        for shape in ((height, width), size, size)
    ]
    red_share, blue_share = LUMA[encoding.matrix]
    half = 1 << (encoding.bits - 1)
    for rows in _bands(rgb[0]):
        red, green, blue = rgb[0, :, rows].float().unbind()
        luma = red.mul(red_share).add_(blue, alpha=blue_share)
        luma.add_(green, alpha=1 - red_share - blue_share)
        of_chroma = slice(rows.start // 2, rows.stop // 2) if halved[0] else rows
        shares = ((blue, blue_share), (red, red_share))
        for plane, (channel, share) in zip(made[1:], shares):
            chroma = _downsampled(channel - luma, halved)
            chroma = chroma.mul_(encoding.chroma_span / (2 * (1 - share))).add_(half)
            plane[of_chroma] = _rounded(chroma, encoding)
        luma.mul_(encoding.luma_span).add_(encoding.black)
        made[0][rows] = _rounded(luma, encoding)
    return made


def values(plane: Tensor) -> Tensor:
    """Returns the values of a plane as float32; int16 holds the bits of uint16."""
    if plane.dtype == torch.int16:
        plane = plane.int().bitwise_and_(0xFFFF)
    return plane.float()


def _rounded(plane: Tensor, encoding: Encoding) -> Tensor:
    plane = plane.round_().clamp_(0, (1 << encoding.bits) - 1)
    return plane if encoding.bits == 8 else plane.int()  # no int16 has 16 bits


def _bands(image: Tensor) -> Iterator[slice]:
    """Cuts the rows of (C, H, W) into even bands of `SERIAL_VALUES`; not on a GPU."""
    height, width = image.shape[1:]
    size = height
    if image.device.type == "cpu":
        size = max(2, (SERIAL_VALUES - 1) // width // 2 * 2)
    for top in range(0, height, size):
        yield slice(top, min(height, top + size))


def _upsampled(plane: Tensor, rows: slice, size: Sequence[int]) -> Tensor:
    """Returns some rows of chroma at the size of luma, (rows, W) float32, linearly.

    Args:
        plane: All of it, at the size of luma or half.
        rows: Of luma, from an even one on.
        size: (height, width) of luma.
    """
    height, width = size
    if plane.shape[0] == height:
        found = values(plane[rows])
    else:
        first, last = rows.start // 2 - 1, (rows.stop + 1) // 2 + 1
        at = torch.arange(first, last, device=plane.device)
        near = values(plane[at.clamp_(0, plane.shape[0] - 1)])
        above, here, below = near[:-2], near[1:-1], near[2:]
        both = [here.lerp(above, 0.25), here.lerp(below, 0.25)]
        found = torch.stack(both, dim=1).flatten(0, 1)[: rows.stop - rows.start]
    if plane.shape[1] != width:
        right = torch.cat([found[:, 1:], found[:, -1:]], dim=1)
        both = [found, found.lerp(right, 0.5)]
        found = torch.stack(both, dim=2).flatten(1)[:, :width]
    return found


def _downsampled(plane: Tensor, halved: tuple[bool, bool]) -> Tensor:
    """Takes chroma where it is stored: the mean of two rows, around every other column."""
    rows, columns = halved
    if rows:
        plane = plane[0::2].lerp(plane[1::2], 0.5)
    if columns:
        left = torch.cat([plane[:, :1], plane[:, 1:-1:2]], dim=1)
        plane = left.add_(plane[:, 0::2], alpha=2).add_(plane[:, 1::2]).div_(4)
    return plane
