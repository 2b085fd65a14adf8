"""Tile plans: which part of the input each part of the output is made from. Integers only.

Every tile reads a halo, the receptive radius of the network, around the pixels whose output
it makes. Its result is therefore that of the whole image, and nothing is blended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from ..network.scale import Window, grid_scale, is_exact, output_size


@dataclass(frozen=True)
class Tile:
    """A rectangle of the input, in pixels, and everything that follows from it."""

    core_rows: range
    core_cols: range
    """The input pixels this tile answers for; the tiles' cores cover the image."""
    in_rows: slice
    in_cols: slice
    """The input pixels it reads: the core and its halo, within the image."""
    out_rows: slice
    out_cols: slice
    """The output pixels it makes."""
    window: Window
    """The same output pixels, as the network is asked for them. Tiles of equal windows
    and equal input shapes can be computed as one batch."""

    @property
    def in_shape(self) -> tuple[int, int]:
        """(height, width) in pixels of what is read."""
        return (
            self.in_rows.stop - self.in_rows.start,
            self.in_cols.stop - self.in_cols.start,
        )


@dataclass(frozen=True)
class Plan:
    """How images of one size are upscaled by one scale."""

    height: int
    width: int
    """Size of the input in pixels."""
    out_height: int
    out_width: int
    """Size of the output in pixels."""
    scale: Fraction
    """The grid that every tile shares, see `grid_scale`."""
    halo: int
    """Receptive radius in input pixels."""

    @staticmethod
    def of(height: int, width: int, scale: float, halo: int) -> Plan:
        """Plans images of ``height`` x ``width`` pixels at a scale in [1, 8]."""
        out = output_size(height, width, scale)
        return Plan(height, width, *out, grid_scale(scale), halo)

    def tiles(self, size: int) -> Iterator[Tile]:
        """Cuts the image into tiles that read at most ``size`` pixels and two halos.

        At whole scales all tiles read equally much, with the least work for their
        number: a tile at an edge has no halo there and covers more pixels instead.

        Example:
            >>> tiles = list(Plan.of(10, 200, 2, 21).tiles(64))
            >>> [tile.in_shape for tile in tiles], [len(t.core_cols) for t in tiles]
            ([(10, 95), (10, 95), (10, 95)], [74, 53, 73])
        """
        read_rows, all_rows = self._share(self.height, size)
        read_cols, all_cols = self._share(self.width, size)
        for rows in all_rows:
            for cols in all_cols:
                yield self.tile(rows, cols, (read_rows, read_cols))

    def halves(self, tile: Tile) -> list[Tile]:
        """Cuts a tile in two across its longer side; a single pixel stays whole."""
        rows, cols = tile.core_rows, tile.core_cols
        size = max(1, -(-max(len(rows), len(cols)) // 2))
        if len(rows) >= len(cols):
            return [self.tile(part, cols) for part in self._cut(rows, size)]
        return [self.tile(rows, part) for part in self._cut(cols, size)]

    def tile(self, rows: range, cols: range, least: tuple[int, int] = (1, 1)) -> Tile:
        """Returns the tile that makes the output of these input pixels.

        It reads at least ``least`` rows and columns, as far as the image has them.
        """
        in_rows, out_rows, top, to_rows = self._axis(
            rows, self.height, self.out_height, least[0]
        )
        in_cols, out_cols, left, to_cols = self._axis(
            cols, self.width, self.out_width, least[1]
        )
        window = Window(top, left, to_rows, to_cols)
        return Tile(rows, cols, in_rows, in_cols, out_rows, out_cols, window)

    def _axis(
        self, core: range, size: int, out_size: int, least: int
    ) -> tuple[slice, slice, int, range]:
        p, q = self.scale.numerator, self.scale.denominator
        stop = min(size, core.stop + self.halo)
        start = max(0, min(core.start - self.halo, stop - least))
        first = self._first_pixel(core.start)
        last = out_size if core.stop == size else self._first_pixel(core.stop)
        periods = start // q  # the pattern of phases repeats: count from its start
        pixels = range(first - periods * p, last - periods * p)
        return slice(start, stop), slice(first, last), start % q, pixels

    def _first_pixel(self, cell: int) -> int:
        """The first output pixel whose centre lies in an input cell or beyond."""
        p, q = self.scale.numerator, self.scale.denominator
        return -((q - 2 * p * cell) // (2 * q))

    def _share(self, size: int, largest: int) -> tuple[int, list[range]]:
        """Cuts an axis so that every part reads equally much; returns how much, too."""
        halos = 2 * self.halo
        count = max(1, -(-(size - halos) // largest))
        read = -(-(size + halos * (count - 1)) // count)
        if self.scale.denominator > 1:
            return 1, list(self._cut(range(size), largest))
        step = read - halos
        inner = range(read - self.halo, size - self.halo, step) if count > 1 else ()
        cuts = [0, *inner, size]
        return read, [range(*pair) for pair in pairwise(cuts)]

    def _cut(self, pixels: range, size: int) -> Iterator[range]:
        """Cuts a range into about equal parts of at most ``size``.

        Cuts fall on whole periods of the phases where these are short, so that tiles
        come out alike and can be batched.
        """
        q = self.scale.denominator
        count = -(-len(pixels) // size)
        step = -(-len(pixels) // count)
        if is_exact(self.scale) and step > q:
            step = max(q, min(-(-step // q) * q, size // q * q))
        for start in range(pixels.start, pixels.stop, step):
            yield range(start, min(start + step, pixels.stop))
