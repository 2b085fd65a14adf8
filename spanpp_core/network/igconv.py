"""IGConv: the upsampler's kernel as a function of the scale.

A small MLP over a Fourier basis is asked for the KxK kernel of each sub-pixel position
("IGConv", implicit grid convolution, MIT). Its result is the weight of one plain
convolution, so the image never sees the MLP. Here the positions may be those of any
real scale, not only of whole ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .device_tables import cached_table
from .hyperparameters import Hyperparameters
from .kernels import NODES, ExactKernels, Kernels, SampledKernels, nodes
from .scale import PhaseGroup, is_exact, phase_groups


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

    def kernels(self, scale: Fraction) -> Kernels:
        """Generates the kernels of a scale: `exact_kernels`, or `sampled_kernels`."""
        return (self.exact_kernels if is_exact(scale) else self.sampled_kernels)(scale)

    def exact_kernels(self, scale: Fraction) -> ExactKernels:
        """Generates the kernel of every position of a scale p/q.

        There are p*p positions in q*q cells. They are made row of cells by row of cells,
        so that the memory stays bounded by p times the scale.
        """
        axis = phase_groups(scale)
        last = scale.denominator - 1
        across = tuple(x for cols in axis for x in cols.coordinates)

        def band(rows: PhaseGroup) -> Tensor:
            """The kernels of a row of cells, with the taps where each cell is."""
            made = self.kernels_at(rows.coordinates, across, float(scale))
            made = made.view(3, len(rows.phases), len(across), *made.shape[1:])
            placed = [
                F.pad(
                    made[:, :, cols.phases.start : cols.phases.stop],
                    (cols.cell, last - cols.cell, rows.cell, last - rows.cell),
                )
                for cols in axis
            ]
            return torch.cat(placed, 2)

        return ExactKernels(scale, torch.cat([band(r) for r in axis], 1).flatten(0, 2))

    def sampled_kernels(self, scale: Fraction) -> SampledKernels:
        """Generates the kernels at the nodes, from which any position is interpolated."""
        at = nodes()
        weight = self.kernels_at(
            at, at, float(scale)
        )  # (rgb * rows * columns, C, K, K)
        weight = weight.view(3, NODES, NODES, *weight.shape[1:])
        return SampledKernels(scale, weight.transpose(0, 1).flatten(0, 2))

    def kernels_at(
        self, ys: Sequence[float] | Tensor, xs: Sequence[float] | Tensor, scale: float
    ) -> Tensor:
        """Returns the kernels at every (y, x) of a grid of sub-pixel coordinates.

        Args:
            ys: Row coordinates within the input cell, in [-1, 1]; a tensor if they
                change from call to call.
            xs: Column coordinates, likewise.
            scale: It sets the phase term 2 / min(scale, largest trained scale).

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

    def _basis(
        self, ys: Sequence[float] | Tensor, xs: Sequence[float] | Tensor, scale: float
    ) -> Tensor:
        """[cos(pi f), sin(pi f)] * amplitude for f = freq_x x + freq_y y + phase.

        By the angle sum rule from one sine and cosine per row and per column, instead
        of one per position: the trigonometry is half of the cost otherwise.
        """
        freq_x, freq_y = (self.freq.flatten(1) * math.pi).chunk(2, dim=1)  # (CKK, D/2)
        step = 2 / min(scale, self.max_trained_scale)
        weight, bias = (
            self.phase.get_parameter(n).flatten() for n in ("weight", "bias")
        )
        phase = (weight * step + bias) * math.pi
        at_y, at_x = (
            at
            if isinstance(at, Tensor)
            else cached_table(at, freq_x.dtype, freq_x.device)
            for at in (ys, xs)
        )
        along_y = freq_y * at_y[:, None, None, None] + phase
        along_x = freq_x * at_x[:, None, None]
        cos_y, sin_y = along_y.cos(), along_y.sin()
        cos_x, sin_x = along_x.cos(), along_x.sin()
        of_cos, of_sin = self.amplitude.flatten(1).chunk(2, dim=1)
        cos = (cos_y * cos_x - sin_y * sin_x) * of_cos
        sin = (sin_y * cos_x + cos_y * sin_x) * of_sin
        return torch.cat([cos, sin], dim=-1)
