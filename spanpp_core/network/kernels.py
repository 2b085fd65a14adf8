"""The kernels of one scale, and how they render features as pixels.

A scale p/q with a small p has one kernel per sub-pixel position (`ExactKernels`). At other
scales nearly every output pixel has a position of its own. There the kernel is sampled at a
few nodes of the input cell, and each output pixel interpolates between the nodes
(`SampledKernels`).
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self, override

from .device_tables import to_device
from .end_layers import conv_layout
from .scale import Window, cell_of

NODES = 5
"""
Nodes along each axis of a cell. On the bundled weights and photo 5 nodes match the exact
kernels to at least 67 dB PSNR at every scale, and 6 nodes to 71; rounding to 8 bits alone
gives 59 dB.
"""

BLOCK = 16
"""Cells along each axis that are interpolated by one matrix product. Most of the matrix is
zero, yet a dense product of this size is faster than gathering."""

BAND_BYTES = {"cpu": 4 * 2**20}
"""Bytes of node values in memory at once, by device type: what fits into a CPU's cache."""

GPU_BAND_BYTES = 256 * 2**20
"""The same for other devices, which need larger bands to be kept busy."""


@dataclass(frozen=True)
class Kernels(ABC):
    """The kernels of one scale."""

    scale: Fraction
    weight: Tensor

    def render(self, features: Tensor, window: Window) -> Tensor:
        """Convolves features and puts every pixel in its place.

        Args:
            features: (N, C, H, W), in the dtype of the kernels. What lies beyond them is
                taken as zero.
            window: The output pixels wanted and where the features lie.

        Returns:
            (N, 3, len(window.rows), len(window.cols))
        """
        # If half a pixel was rounded up, the centre of the last pixel lies on the edge of
        # the image, beyond the last cell: it repeats its neighbour.
        height, width = features.shape[-2:]
        extra_row = cell_of(window.rows[-1], self.scale) - window.top >= height
        extra_col = cell_of(window.cols[-1], self.scale) - window.left >= width
        rows = window.rows[: len(window.rows) - extra_row]
        cols = window.cols[: len(window.cols) - extra_col]
        pixels = self._render(features, replace(window, rows=rows, cols=cols))
        if not (extra_row or extra_col):
            return pixels
        return F.pad(pixels, (0, extra_col, 0, extra_row), mode="replicate")

    @property
    def nbytes(self) -> int:
        """The memory that the kernels take."""
        return self.weight.nbytes

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Returns the kernels on a device, in a dtype, as convolutions want them."""
        return replace(self, weight=_moved(self.weight, device, dtype))

    @abstractmethod
    def _render(self, features: Tensor, window: Window) -> Tensor: ...


@dataclass(frozen=True)
class ExactKernels(Kernels):
    """One kernel for each of the p * p positions of a scale p/q, in one convolution.

    Every position looks at the K x K cells around its own cell, which is one of q x q;
    in the weight its taps lie where that cell is, and all others are zero.
    """

    weight: Tensor
    """(3 * p * p, C, K + q - 1, K + q - 1), output channels ordered (rgb, row, column)."""

    @override
    def _render(self, features: Tensor, window: Window) -> Tensor:
        """A convolution of stride q makes p x p pixels of each block of q x q cells.

        At a whole scale all features are rendered: cutting out the cells wanted would
        take a copy.
        """
        p, q = self.scale.numerator, self.scale.denominator
        if q == 1:
            return crop(shuffled(features, self.weight, p), window, p)
        down = range(window.rows.start // p, -(-window.rows.stop // p))
        across = range(window.cols.start // p, -(-window.cols.stop // p))
        rows = range(down.start * q, down.stop * q)
        cols = range(across.start * q, across.stop * q)
        cells = _cells(features, window, rows, cols, (self.weight.shape[-1] - q) // 2)
        pixels = F.pixel_shuffle(F.conv2d(cells, self.weight, stride=q), p)
        top = window.rows.start - down.start * p
        left = window.cols.start - across.start * p
        return pixels[..., top : top + len(window.rows), left : left + len(window.cols)]


@dataclass(frozen=True)
class SampledKernels(Kernels):
    """The kernels at a grid of nodes, for Lagrange interpolation along both axes.

    Positions are exact to float64, and the scale need not be a simple fraction.
    """

    weight: Tensor
    """(nodes * 3 * nodes, C, K, K), output channels ordered (row node, rgb, column node)."""

    @override
    def _render(self, features: Tensor, window: Window) -> Tensor:
        """Convolves once at the input's resolution, then interpolates rows and columns.

        Works band by band, so that the node values are never all in memory. It
        interpolates in float32 or finer: matrices in float16 would be too coarse.
        """
        exact = torch.promote_types(features.dtype, torch.float32)
        down, across = (
            interpolation(pixels, self.scale, exact, features.device)
            for pixels in (window.rows, window.cols)
        )
        radius = self.weight.shape[-1] // 2
        cells = _cells(features, window, down.cells, across.cells, radius)
        n, nodes = len(features), NODES
        width = len(across.cells)
        pixels = features.new_empty(
            n, 3, len(window.rows), len(window.cols), dtype=exact
        )
        if n == 0:
            return pixels
        in_block = n * BLOCK * width * len(self.weight) * exact.itemsize
        limit = BAND_BYTES.get(features.device.type, GPU_BAND_BYTES)
        for first, blocks in _bands(len(down.matrix), max(1, limit // in_block)):
            height = blocks * BLOCK
            seen = cells[:, :, first * BLOCK : first * BLOCK + height + 2 * radius]
            made = F.conv2d(seen, self.weight).to(exact)
            # (block, cell and row node, image, column, rgb, column node)
            values = made.view(n, nodes, 3, nodes, blocks, BLOCK, width)
            values = values.permute(4, 5, 1, 0, 6, 2, 3)
            values = values.reshape(blocks, BLOCK * nodes, -1)
            rows = torch.bmm(down.matrix[first : first + blocks], values)
            # (block of columns, image, row, rgb, cell and column node)
            rows = rows.view(-1, n, width // BLOCK, BLOCK, 3, nodes)
            rows = rows.permute(2, 1, 0, 4, 3, 5)
            rows = rows.reshape(width // BLOCK, -1, BLOCK * nodes)
            made = torch.bmm(rows, across.matrix.transpose(1, 2))
            made = made.view(width // BLOCK, n, -1, 3, made.shape[-1])
            made = made.permute(1, 3, 2, 0, 4).flatten(3)
            places = slice(down.starts[first], down.starts[first + blocks])
            chosen = down.index[places] - first * down.matrix.shape[1]
            pixels[:, :, places] = made[:, :, chosen[:, None], across.index]
        return pixels


@dataclass(frozen=True)
class Interpolation:
    """How the pixels along one axis are interpolated from nodes in blocks of cells."""

    cells: range
    """The input cells that are read, whole blocks of them."""
    matrix: Tensor
    """(blocks, pixels of a block at most, `BLOCK` * `NODES`)"""
    index: Tensor
    """Index of each pixel into the flattened (blocks, pixels of a block at most)."""
    starts: tuple[int, ...]
    """The first pixel of each block, then the number of pixels."""


@functools.lru_cache(maxsize=32)
def interpolation(
    pixels: range, scale: Fraction, dtype: torch.dtype, device: torch.device
) -> Interpolation:
    """Returns how to interpolate output pixels along one axis.

    Positions are integers until the last division, so that they are those of the whole
    image in every tile. The tables of a run's tiles are kept.
    """
    with torch.inference_mode(False), torch.no_grad():
        i = torch.arange(pixels.start, pixels.stop, device="cpu")
        period = 2 * scale.numerator
        doubled = (2 * i + 1) * scale.denominator
        cell = doubled // period
        at = (doubled % period).double() * (2 / period) - 1
        first = int(cell[0])
        block, within = (cell - first) // BLOCK, (cell - first) % BLOCK
        count = int(block[-1]) + 1
        starts = torch.searchsorted(block, torch.arange(count + 1, device="cpu"))
        place = i - pixels.start - starts[block]
        most = int(place.max()) + 1
        matrix = at.new_zeros(count, most, BLOCK, NODES)
        matrix[block, place, within] = _lagrange(at)
        return Interpolation(
            range(first, first + count * BLOCK),
            to_device(matrix.flatten(2).to(dtype), device),
            to_device(block * most + place, device),
            tuple(int(start) for start in starts),
        )


@functools.cache
def nodes() -> tuple[float, ...]:
    """Returns where in a cell, from -1 to 1, kernels are sampled: Chebyshev's nodes."""
    return tuple(-math.cos((2 * i + 1) * math.pi / (2 * NODES)) for i in range(NODES))


def _lagrange(at: Tensor) -> Tensor:
    """Returns the weight of each node at positions (N,) in [-1, 1]: (N, `NODES`)."""
    known, one = at.new_tensor(nodes()), at.new_ones(())
    others = ~torch.eye(NODES, dtype=torch.bool, device=at.device)
    factors = (at[:, None] - known)[:, None].expand(-1, NODES, -1)
    factors = factors / (known[:, None] - known).where(others, one)
    return factors.where(others, one).prod(-1)


def _bands(blocks: int, size: int) -> Iterator[tuple[int, int]]:
    """Yields the first block of each band, and how many it has."""
    for first in range(0, blocks, size):
        yield first, min(size, blocks - first)


def shuffled(features: Tensor, weight: Tensor, scale: int) -> Tensor:
    """Renders all features at a whole scale: a convolution and `pixel_shuffle`."""
    made = F.conv2d(features, weight, padding=int(weight.shape[-1]) // 2)
    return F.pixel_shuffle(made, scale)


def crop(pixels: Tensor, window: Window, scale: int) -> Tensor:
    """Crops a window from the pixels rendered from its input at a whole scale."""
    top = window.rows.start - window.top * scale
    left = window.cols.start - window.left * scale
    return pixels[..., top : top + len(window.rows), left : left + len(window.cols)]


def _cells(
    features: Tensor, window: Window, rows: range, cols: range, radius: int
) -> Tensor:
    """Crops or zero-pads features to cells of the whole image and ``radius`` around."""
    height, width = features.shape[-2:]
    left = window.left - (cols.start - radius)
    right = cols.stop + radius - (window.left + width)
    top = window.top - (rows.start - radius)
    bottom = rows.stop + radius - (window.top + height)
    return F.pad(features, (left, right, top, bottom))


def _moved(weight: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return weight.to(device, dtype, memory_format=conv_layout(device, dtype))
