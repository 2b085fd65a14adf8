"""IGConv: the upsampler's kernel as a function of the scale.

A small MLP over a Fourier basis is asked for the KxK kernel of each sub-pixel position
("IGConv", implicit grid convolution, MIT). Its result is the weight of one plain
convolution, so the image never sees the MLP. Here the positions may be those of any
rational scale, not only of whole ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .hyperparameters import Hyperparameters
from .scale import Window, cell_of, is_exact, phase_groups, shared_phase_of


@dataclass(frozen=True)
class KernelGroup:
    """The kernels of all sub-pixel positions that lie in one input cell."""

    row_cell: int
    col_cell: int
    """The cell, in [0, q) along each axis."""
    rows: range
    cols: range
    """The output phases in that cell, in [0, p) along each axis."""
    weight: Tensor
    """(3 * len(rows) * len(cols), C, K, K), output channels ordered (rgb, row, column)."""


class IGConv(nn.Module):
    """The kernel generator; parameter names are those of public checkpoints."""

    def __init__(self, hyper: Hyperparameters) -> None:
        super().__init__()
        self.channels = hyper.channels
        self.kernel_size = hyper.kernel_size
        self.max_trained_scale = hyper.scales[-1]
        taps, width = hyper.channels * hyper.kernel_size**2, hyper.implicit_dim
        self.phase = nn.Conv2d(1, width // 2, 1)
        self.freq = nn.Parameter(torch.randn(taps, width, 1, 1) * 0.02)
        self.amplitude = nn.Parameter(torch.randn(taps, width, 1, 1) * 0.02)
        layers: list[nn.Module] = []
        for _ in range(hyper.latent_layers):
            layers += [nn.Conv2d(width, width, 1), nn.ReLU()]
        self.query_kernel = nn.Sequential(*layers, nn.Conv2d(width, 3, 1))

    def groups(self, scale: Fraction) -> Iterator[KernelGroup]:
        """Generates the kernels of a scale, one input cell or shared phase at a time.

        An exact scale p/q has p*p positions in q*q cells; making them cell by cell
        keeps the memory bounded by the square of the scale.
        """
        axis = phase_groups(scale)
        for rows in axis:
            for cols in axis:
                weight = self.kernel(rows.coordinates, cols.coordinates, float(scale))
                yield KernelGroup(
                    rows.cell, cols.cell, rows.phases, cols.phases, weight
                )

    def kernel(self, ys: Sequence[float], xs: Sequence[float], scale: float) -> Tensor:
        """Returns the kernels at every (y, x) of a grid of sub-pixel coordinates.

        Args:
            ys: Row coordinates within the input cell, in [-1, 1].
            xs: Column coordinates, likewise.
            scale: The scale, which enters through the phase 2 / min(scale, max S).

        Returns:
            (3 * len(ys) * len(xs), C, K, K), output channels ordered (rgb, row, column).
        """
        basis = self._basis(ys, xs, scale)  # (Y, X, C*K*K, D)
        values = basis
        for layer in self.query_kernel:
            if isinstance(layer, nn.Conv2d):
                values = F.linear(values, layer.weight.flatten(1), layer.bias)
            else:
                values = F.relu(values)
        k = self.kernel_size
        values = values.view(len(ys), len(xs), self.channels, k, k, 3)
        return values.permute(5, 0, 1, 2, 3, 4).flatten(0, 2).contiguous()

    def _basis(self, ys: Sequence[float], xs: Sequence[float], scale: float) -> Tensor:
        """[cos(pi f), sin(pi f)] * amplitude for f = freq_x x + freq_y y + phase.

        By the angle sum rule from one sine and cosine per row and per column, instead
        of one per position: the trigonometry is half of the cost otherwise.
        """
        freq_x, freq_y = (self.freq.flatten(1) * math.pi).chunk(2, dim=1)  # (CKK, D/2)
        step = 2 / min(scale, self.max_trained_scale)
        at_step = self.phase(self.phase.weight.new_full((1, 1, 1, 1), step))
        phase = at_step.flatten() * math.pi
        along_y = torch.stack([freq_y * y + phase for y in ys])[:, None]
        along_x = torch.stack([freq_x * x for x in xs])[None]
        cos_y, sin_y = along_y.cos(), along_y.sin()
        cos_x, sin_x = along_x.cos(), along_x.sin()
        of_cos, of_sin = self.amplitude.flatten(1).chunk(2, dim=1)
        cos = (cos_y * cos_x - sin_y * sin_x) * of_cos
        sin = (sin_y * cos_x + cos_y * sin_x) * of_sin
        return torch.cat([cos, sin], dim=-1)


def upsample(
    features: Tensor,
    groups: Iterable[KernelGroup],
    kernel_size: int,
    scale: Fraction,
    window: Window,
) -> Tensor:
    """Convolves features with the kernels of a scale and shuffles the pixels.

    Args:
        features: (N, C, H, W). What lies beyond them is taken as zero.
        groups: The kernels of ``scale``, in the dtype of ``features``.
        kernel_size: K, odd.
        scale: The scale p/q.
        window: The output pixels wanted and where the features lie.

    Returns:
        (N, 3, len(window.rows), len(window.cols))
    """
    # When half a pixel is rounded up, the last pixel's centre lies on the image's edge,
    # where no cell is left: it repeats its neighbour.
    height, width = features.shape[-2:]
    over_bottom = cell_of(window.rows[-1], scale) - window.top >= height
    over_right = cell_of(window.cols[-1], scale) - window.left >= width
    if over_bottom or over_right:
        rows = window.rows[: len(window.rows) - over_bottom]
        cols = window.cols[: len(window.cols) - over_right]
        inside = replace(window, rows=rows, cols=cols)
        pixels = upsample(features, groups, kernel_size, scale, inside)
        return F.pad(pixels, (0, over_right, 0, over_bottom), mode="replicate")
    make = _in_blocks if is_exact(scale) else _by_shared_phases
    return make(features, groups, kernel_size, scale, window)


def crop(pixels: Tensor, window: Window, scale: int) -> Tensor:
    """Cuts a window out of all pixels that were made of its input at a whole scale."""
    top = window.rows.start - window.top * scale
    left = window.cols.start - window.left * scale
    return pixels[..., top : top + len(window.rows), left : left + len(window.cols)]


def _in_blocks(
    features: Tensor,
    groups: Iterable[KernelGroup],
    kernel_size: int,
    scale: Fraction,
    window: Window,
) -> Tensor:
    """At an exact scale p/q every group is one convolution of stride q.

    Its output channels are part of a p x p block of pixels. At a whole scale that is
    one group of stride 1: a plain convolution and `pixel_shuffle`, of all features
    because cutting out the cells wanted would take a copy.
    """
    p, q = scale.numerator, scale.denominator
    if q == 1:
        (group,) = groups
        made = F.conv2d(features, group.weight, padding=kernel_size // 2)
        return crop(F.pixel_shuffle(made, p), window, p)
    down = range(window.rows.start // p, -(-window.rows.stop // p))
    across = range(window.cols.start // p, -(-window.cols.stop // p))
    rows = range(down.start * q, down.stop * q)
    cols = range(across.start * q, across.stop * q)
    cells = _cells(features, window, rows, cols, kernel_size // 2)
    n, h, w = len(features), len(down), len(across)
    pixels = features.new_empty(n, 3, h * p, w * p)
    blocks = pixels.view(n, 3, h, p, w, p)
    for group in groups:
        bottom = group.row_cell + (h - 1) * q + kernel_size
        right = group.col_cell + (w - 1) * q + kernel_size
        seen = cells[..., group.row_cell : bottom, group.col_cell : right]
        made = F.conv2d(seen, group.weight, stride=q)
        made = made.view(n, 3, len(group.rows), len(group.cols), h, w)
        made = made.permute(0, 1, 4, 2, 5, 3)
        blocks[
            ...,
            group.rows.start : group.rows.stop,
            :,
            group.cols.start : group.cols.stop,
        ] = made
    top = window.rows.start - down.start * p
    left = window.cols.start - across.start * p
    return pixels[..., top : top + len(window.rows), left : left + len(window.cols)]


def _by_shared_phases(
    features: Tensor,
    groups: Iterable[KernelGroup],
    kernel_size: int,
    scale: Fraction,
    window: Window,
) -> Tensor:
    """At any other scale the pixels of one phase lie in cells without a period.

    The K x K cells that each of them sees are laid side by side, where a convolution of
    stride K makes one pixel of each.
    """
    first_row, last_row = (cell_of(i, scale) for i in (window.rows[0], window.rows[-1]))
    first_col, last_col = (cell_of(i, scale) for i in (window.cols[0], window.cols[-1]))
    rows = range(first_row, last_row + 1)
    cols = range(first_col, last_col + 1)
    cells = _cells(features, window, rows, cols, kernel_size // 2)
    down = _by_phase(window.rows, first_row, scale, kernel_size, features.device)
    across = _by_phase(window.cols, first_col, scale, kernel_size, features.device)
    shape = (len(features), 3, len(window.rows), len(window.cols))
    pixels = features.new_empty(shape)
    phase, strips = -1, cells
    for group in groups:
        if group.rows.start not in down or group.cols.start not in across:
            continue
        to_rows, from_rows = down[group.rows.start]
        to_cols, from_cols = across[group.cols.start]
        if group.rows.start != phase:
            phase, strips = group.rows.start, cells.index_select(2, from_rows)
        seen = strips.index_select(3, from_cols)
        made = F.conv2d(seen, group.weight, stride=kernel_size)
        pixels[:, :, to_rows[:, None], to_cols] = made
    return pixels


def _by_phase(
    pixels: range,
    first_cell: int,
    scale: Fraction,
    kernel_size: int,
    device: torch.device,
) -> dict[int, tuple[Tensor, Tensor]]:
    """Sorts output pixels by phase: where they go, and the K cells that each sees."""
    places: dict[int, list[int]] = {}
    for place, pixel in enumerate(pixels):
        places.setdefault(shared_phase_of(pixel, scale), []).append(place)
    return {
        phase: (
            torch.tensor(chosen, device=device),
            torch.tensor(
                [
                    cell_of(pixels[place], scale) - first_cell + tap
                    for place in chosen
                    for tap in range(kernel_size)
                ],
                device=device,
            ),
        )
        for phase, chosen in places.items()
    }


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
