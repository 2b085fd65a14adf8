"""The network frozen at one scale: its kernel is a weight like any other.

Pure tensor work, without any file format: what `onnx`, `ncnn` and `torchscript` write.
"""

from __future__ import annotations

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from ..checkpoint import Checkpoint
from ..network.igconv import IGConv
from ..network.model import Body, RepConv
from ..network.scale import cell_of, output_size


def one_kernel(checkpoint: Checkpoint, scale: Fraction) -> Tensor:
    """Returns all kernels of a scale p/q as the weight of one convolution of stride q.

    Every sub-pixel position looks at the K x K cells around its own cell, which is one
    of q x q; in the weight its taps lie where that cell is, and all others are zero.

    Returns:
        (3*p*p, C, K+q-1, K+q-1), output channels ordered (rgb, row, column), as pixel
        shuffle wants them. At a whole scale that is the plain K x K kernel.
    """
    hyper = checkpoint.hyper
    k, p, q = hyper.kernel_size, scale.numerator, scale.denominator
    shape = (3, p, p, hyper.channels, k + q - 1, k + q - 1)
    generator = IGConv(hyper)
    generator.load_state_dict(tensors_of(checkpoint, "upsampler."))
    weight = torch.zeros(shape)
    with torch.no_grad():
        for group in generator.exact_kernels(scale).groups:
            taps = group.weight.view(
                3, len(group.rows), len(group.cols), hyper.channels, k, k
            )
            weight[
                :,
                group.rows.start : group.rows.stop,
                group.cols.start : group.cols.stop,
                :,
                group.row_cell : group.row_cell + k,
                group.col_cell : group.col_cell + k,
            ] = taps
    return weight.flatten(0, 2)


def repeats_last(
    size: tuple[int, int], scale: float, grid: Fraction
) -> tuple[bool, bool]:
    """Whether the last row, and the last column, of the output repeats its neighbour.

    When half a pixel is rounded up, the centre of the last output pixel lies on the
    image's edge, where no cell is left: see `spanpp_core.network.kernels.Kernels.render`.

    Args:
        size: (height, width) of the input.
        scale: The scale asked for.
        grid: The fraction whose grid is evaluated.
    """
    rows, cols = output_size(*size, scale)
    height, width = size
    return cell_of(rows - 1, grid) >= height, cell_of(cols - 1, grid) >= width


def tensors_of(checkpoint: Checkpoint, prefix: str) -> dict[str, Tensor]:
    """Returns the tensors of one part of the network, under their names within it."""
    return {
        name[len(prefix) :]: tensor
        for name, tensor in checkpoint.state_dict.items()
        if name.startswith(prefix)
    }


class Frozen(nn.Module):
    """The network at one whole scale: ``(N, C, H, W) -> (N, 3, H*s, W*s)``, float32.

    It holds no kernel generator and traces without a size of its own. After `half` its
    convolutions run in float16, between float32 images.
    """

    def __init__(self, checkpoint: Checkpoint, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.body = Body(checkpoint.hyper, RepConv)
        self.body.load_state_dict(
            {k: checkpoint.state_dict[k] for k in self.body.state_dict()}
        )
        self.kernel = nn.Parameter(one_kernel(checkpoint, Fraction(scale)))
        self.padding = checkpoint.hyper.kernel_size // 2
        self.requires_grad_(False).eval()

    @override
    def forward(self, x: Tensor) -> Tensor:
        half = self.kernel.dtype != torch.float32
        features = self.body.features(x.to(self.kernel.dtype) if half else x)
        pixels = F.conv2d(features, self.kernel, padding=self.padding)
        shuffled = F.pixel_shuffle(pixels, self.scale)
        return shuffled.float() if half else shuffled
