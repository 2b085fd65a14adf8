"""SpanPP as it runs: plain convolutions, a kernel made for the scale, pixel shuffle.

The state dict of this network is the "fused" kind of public checkpoint: only
``*.conv_3x3_rep.*``, ``conv_cat.*``, ``upsampler.*`` and ``MetaIGConv``.
"""

from __future__ import annotations

import copy
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from .body import BODY_RADIUS, Body, RepConv
from .cache import CachedIGConv
from .end_layers import EndConv, EndRepConv, conv_layout, end_dtype, laid_out
from .hyperparameters import Hyperparameters
from .kernels import shuffled
from .last_layers import LastLayers
from .scale import Window, checked_scale, grid_scale, output_size


class SpanPP(Body):
    """The inference network: images to images, at the bound scale.

    ``(N, in_channels, H, W) -> (N, 3, round(H*s), round(W*s))``. A shallow copy shares
    every weight and has a `scale` of its own: that is how one model is bound to several
    scales at once.
    """

    def __init__(self, hyper: Hyperparameters) -> None:
        super().__init__(hyper, RepConv)
        c = hyper.channels
        self.conv0 = EndRepConv(hyper.in_channels, c)
        self.conv_2 = EndRepConv(c, c)
        self.conv_cat = EndConv(4 * c, c, 1)
        self.hyper = hyper
        self.upsampler = CachedIGConv(hyper)
        self.register_buffer(
            "MetaIGConv", torch.tensor(hyper.scales, dtype=torch.uint8)
        )
        self.scale: int | float = hyper.default_scale
        """The bound scale: an int when whole, a float otherwise."""

    @classmethod
    def blank(cls, hyper: Hyperparameters) -> SpanPP:
        """Returns a network whose weights are still to be loaded.

        No initial ones are drawn: the random numbers of a program around stay its own.
        """
        with torch.device("meta"):
            network = cls(hyper)
        return network.to_empty(device="cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the blocks; the layers at both ends follow `end_dtype`."""
        return self.block_1.c1_r.get_parameter("conv_3x3_rep.weight").dtype

    @property
    def halo(self) -> int:
        """The receptive radius in input pixels: 21 at K = 3."""
        return BODY_RADIUS + self.hyper.kernel_size // 2

    def at_scale(self, scale: float) -> SpanPP:
        """Returns a view of this network, bound to ``scale``, that shares its weights.

        Raises:
            ScaleError: ``scale`` is not a number in [1, 8].
        """
        view = copy.copy(self)
        view.scale = checked_scale(scale, self.hyper.scales)
        return view

    def with_dtype(self, dtype: torch.dtype) -> SpanPP:
        """Returns a copy with the blocks in ``dtype``; the kernel generator stays float32."""
        cast = SpanPP.blank(self.hyper)
        cast.load_state_dict(self.state_dict())
        cast.scale = self.scale
        cast.to(self.conv_cat.weight.device, dtype)
        return cast.requires_grad_(False).train(self.training)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Upscales by the bound scale.

        Args:
            x: (N, in_channels, H, W) in [0, 1], of any floating dtype.

        Returns:
            (N, 3, round(H*s), round(W*s)), not clamped, in the dtype of ``x``.
        """
        if isinstance(self.scale, int):
            return self._whole(x, self.scale)
        height, width = x.shape[-2:]
        rows, cols = output_size(height, width, self.scale)
        window = Window(0, 0, range(rows), range(cols))
        return self.region(x, grid_scale(self.scale), window).contiguous()

    def _whole(self, x: Tensor, scale: int) -> Tensor:
        """The forward pass at a whole scale, without arithmetic on the image's size.

        A tracer can follow it, so programs such as ComfyUI export ONNX files that take
        images of any size.
        """
        features = self.features(x)
        weight = self.upsampler.whole(scale, features.dtype, features.device)
        return _cast(shuffled(features, weight, scale), x.dtype).contiguous()

    @override
    def features(self, x: Tensor) -> Tensor:
        """Computes `Body.features`, in the dtype of the last convolution.

        The linear layers behind the last activations are composed, see `LastLayers`.
        """
        dtype = end_dtype(self.dtype)
        x = laid_out(x, dtype, conv_layout(x.device, self.dtype))
        last = self.last_layers()
        b1, b, o1 = self.blocks(_cast(self.conv0(x), self.dtype))
        y = F.conv2d(b, last.last_block.to(b), padding=1)
        del b
        y.add_(F.conv2d(b1, last.first_block.to(b1)))
        del b1
        y.add_(F.conv2d(o1, last.last_activation.to(o1)))
        del o1
        return F.conv2d(x, last.image.to(x), last.bias.to(x), padding=1).add_(y)

    def last_layers(self) -> LastLayers:
        """Composes the linear layers behind the activations; see `LastLayers`."""
        return LastLayers.of(self, torch.promote_types(self.dtype, torch.float32))

    def region(self, x: Tensor, grid: Fraction, window: Window) -> Tensor:
        """Computes a rectangle of the output from the part of the input it depends on.

        The result is that of the whole image, to rounding, if ``x`` reaches `halo`
        pixels beyond the cells of ``window``, or to the edge of the image.

        Args:
            x: (N, in_channels, h, w), the part of the image at ``window.top, .left``.
            grid: See `grid_scale`; the same for every part of an image.
            window: The output pixels wanted.

        Returns:
            (N, 3, len(window.rows), len(window.cols)), not clamped, dtype of ``x``.
        """
        return self.pixels(self.features(x), grid, window).to(x.dtype)

    def pixels(self, features: Tensor, grid: Fraction, window: Window) -> Tensor:
        """Returns the output pixels of a window, from the features of its input."""
        kernels = self.upsampler.kernels_for(grid, features.dtype, features.device)
        return kernels.render(features, window)


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Casts where it changes something: a tracer would record any cast, even to itself."""
    return x if x.dtype == dtype else x.to(dtype)
