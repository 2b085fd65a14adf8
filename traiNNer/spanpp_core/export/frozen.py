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
from ..network.body import Body, RepConv
from ..network.igconv import IGConv
from ..network.scale import cell_of, output_size


def one_kernel(checkpoint: Checkpoint, scale: Fraction) -> Tensor:
    """Returns all kernels of a scale p/q as the weight of one convolution of stride q.

    Returns:
        (3*p*p, C, K+q-1, K+q-1), see `ExactKernels`. At a whole scale that is the plain
        K x K kernel.
    """
    generator = IGConv(checkpoint.hyper)
    generator.load_state_dict(tensors_of(checkpoint, "upsampler."))
    with torch.no_grad():
        return generator.exact_kernels(scale).weight


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
        self.requires_grad_(False).train(False)

    @override
    def forward(self, x: Tensor) -> Tensor:
        half = self.kernel.dtype != torch.float32
        features = self.body.features(x.to(self.kernel.dtype) if half else x)
        pixels = F.conv2d(features, self.kernel, padding=self.padding)
        shuffled = F.pixel_shuffle(pixels, self.scale)
        return shuffled.float() if half else shuffled
