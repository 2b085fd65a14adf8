"""SpanPP while it is trained: what all its training forms have in common, and the plain one.

The plain form trains the 3x3 convolutions themselves, under the names of a fused
checkpoint. A step costs half of what it costs with three branches behind each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from .autocast import autocast_disabled, autocast_enabled
from .body import Body, RepConv
from .end_layers import conv_layout
from .hyperparameters import Hyperparameters
from .igconv import IGConv
from .scale import Window, checked_scale, grid_scale, output_size


class InItsDtype(nn.Module):
    """A layer that computes in the dtype of its weights, whatever autocast says."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        with autocast_disabled(x.device.type):
            return super().forward(x.to(next(self.parameters()).dtype))


class _LastConv(nn.Conv2d):
    """The 1x1 convolution that makes the features, in the dtype of its weights.

    As a product of matrices: what is channels-last on a GPU is not transposed for it.
    """

    @override
    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore
        with autocast_disabled(x.device.type):
            pixels = x.to(self.weight.dtype).movedim(1, -1)
            return F.linear(pixels, self.weight.flatten(1), self.bias).movedim(-1, 1)


class _FirstRepConv(InItsDtype, RepConv):
    """The convolution that reads the image."""


class TrainableSpanPP(Body):
    """``(N, C, H, W), scale -> (N, 3, round(H*s), round(W*s))``, for training.

    Differentiable in every parameter; the kernel is made anew at each call.

    Under autocast the first convolution, the last one and the upsampler stay float32:
    in bfloat16 they shift the whole image by a few thousandths, and what training then
    follows is that shift (its gradient has nothing in common with the true one).

    Args:
        hyper: Sizes and trained scales.
        conv: Makes a 3x3 convolution of the body.
        first: Makes the one that reads the image.
    """

    def __init__(
        self,
        hyper: Hyperparameters,
        conv: Callable[[int, int], nn.Module],
        first: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__(hyper, conv)
        self.hyper = hyper
        self.conv0 = first(hyper.in_channels, hyper.channels)
        self.conv_cat = _LastConv(4 * hyper.channels, hyper.channels, 1)
        self.upsampler = IGConv(hyper)
        self.register_buffer(
            "MetaIGConv", torch.tensor(hyper.scales, dtype=torch.uint8)
        )
        self._features: Callable[[Tensor], Tensor] = self.features

    def compile_features(self) -> None:
        """Makes `torch.compile` run the body from now on, for each shape of images."""
        self._features = torch.compile(self.features, dynamic=False)

    @override
    def forward(self, x: Tensor, scale: float | None = None) -> Tensor:
        """Upscales by ``scale``, by default the one the inference network starts with.

        Raises:
            ScaleError: ``scale`` is not a number in [1, 8].
        """
        if scale is None:
            scale = self.hyper.default_scale
        height, width = x.shape[-2:]
        asked = checked_scale(scale, self.hyper.scales)
        rows, cols = output_size(height, width, asked)
        grid: Fraction = grid_scale(asked)
        window = Window(0, 0, range(rows), range(cols))
        half = autocast_enabled(x.device.type)
        layout = conv_layout(x.device, torch.bfloat16 if half else x.dtype)
        features = self._features(x.contiguous(memory_format=layout))
        with autocast_disabled(x.device.type):
            return self.upsampler.kernels(grid).render(features, window)

    def fused_state_dict(self) -> dict[str, Tensor]:
        """Returns the state dict of the equivalent inference network, detached."""
        return dict(self.state_dict())


class SpanPPPlain(TrainableSpanPP):
    """The training form without branches: its state dict is a fused checkpoint's."""

    def __init__(self, hyper: Hyperparameters) -> None:
        super().__init__(hyper, RepConv, _FirstRepConv)
