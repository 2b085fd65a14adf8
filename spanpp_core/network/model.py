"""SpanPP as it runs: plain convolutions, a kernel made for the scale, pixel shuffle.

The state dict of this network is the "fused" kind of public checkpoint: only
``*.conv_3x3_rep.*``, ``conv_cat.*``, ``upsampler.*`` and ``MetaIGConv``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self, override

from .cache import CachedIGConv
from .hyperparameters import Hyperparameters
from .kernels import shuffled
from .reparam import Conv3x3, then_1x1
from .scale import Window, checked_scale, grid_scale, output_size

BODY_RADIUS = 1 + 6 * 3 + 1
"""How far the body sees, in pixels: conv0, six blocks of three convolutions, conv_2."""


class RepConv(nn.Module):
    """A 3x3 convolution; named as the fused result of the training form."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_3x3_rep = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.conv_3x3_rep(x)


class _AtAnEnd(nn.Module):
    """A convolution that no activation separates from the image, on either side.

    It stays float32 where the body is bfloat16. There a pixel near white would be off by
    half a step of 8 bits before anything is computed, and the layers that `LastLayers`
    composes would be rounded twice: the result was off by up to two steps. This keeps
    it within one at 2 % of the time; float16 needs no such care.
    """

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def in_its_dtype(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if end_dtype(moved.dtype) == moved.dtype:
                return moved
            return tensor.to(moved.device, end_dtype(moved.dtype))

        return super()._apply(in_its_dtype, recurse)


class EndRepConv(_AtAnEnd, RepConv):
    """The first convolution, and the one behind the last block."""


class EndConv(_AtAnEnd, nn.Conv2d):
    """The convolution that joins the maps."""


def end_dtype(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype of the first and last convolution around a body of ``dtype``."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


def conv_layout(device: torch.device, dtype: torch.dtype) -> torch.memory_format:
    """Returns the layout of maps that the convolutions of a device are fastest in.

    Processors and tensor cores want channels last. float32 runs without tensor cores, as
    TF32 has the accuracy of float16; there cuDNN would transpose channels-last maps, and so
    would MIOpen in any dtype.
    """
    if device.type == "cpu":
        return torch.channels_last
    has_tensor_cores = device.type == "cuda" and torch.version.hip is None
    if has_tensor_cores and dtype != torch.float32:
        return torch.channels_last
    return torch.contiguous_format


class SPAB(nn.Module):
    """Swift parameter-free attention block (SPAN, Apache-2.0)."""

    def __init__(self, channels: int, conv: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.c1_r = conv(channels, channels)
        self.c2_r = conv(channels, channels)
        self.c3_r = conv(channels, channels)

    @override
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the block's output and the activated output of its first convolution.

        The published network activates in place, so the second output is silu(o1) and
        not o1; trained weights depend on it.
        """
        inplace = not torch.is_grad_enabled()
        o1 = F.silu(self.c1_r(x), inplace=inplace)
        o3 = self.c3_r(F.silu(self.c2_r(o1), inplace=inplace))
        if inplace:
            attention = o3.sigmoid().sub_(0.5)
            return o3.add_(x).mul_(attention), o1
        return (o3 + x) * (o3.sigmoid() - 0.5), o1


class Body(nn.Module):
    """Everything before the upsampler; shared by the fused and the training form."""

    def __init__(
        self, hyper: Hyperparameters, conv: Callable[[int, int], nn.Module]
    ) -> None:
        super().__init__()
        c = hyper.channels
        self.conv0 = conv(hyper.in_channels, c)
        self.block_1 = SPAB(c, conv)
        self.block_2 = SPAB(c, conv)
        self.block_3 = SPAB(c, conv)
        self.block_4 = SPAB(c, conv)
        self.block_5 = SPAB(c, conv)
        self.block_6 = SPAB(c, conv)
        self.conv_2 = conv(c, c)
        self.conv_cat = nn.Conv2d(4 * c, c, 1)

    def features(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) in [0, 1] -> (N, C, H, W)."""
        f0 = self.conv0(x)
        b1, b, o1 = self.blocks(f0)
        return self.conv_cat(torch.cat([f0, self.conv_2(b), b1, o1], dim=1))

    def blocks(self, f0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns what the first block makes, and both outputs of the last one."""
        b1 = self.block_1(f0)[0]
        del f0  # a caller may not need it any more
        b = b1
        for block in (self.block_2, self.block_3, self.block_4, self.block_5):
            b = block(b)[0]
        b, o1 = self.block_6(b)
        return b1, b, o1


class LastLayers(NamedTuple):
    """What lies between the activations and the features: their sum, and a bias."""

    image: Tensor
    """(C, in_channels, 3, 3), of the image: the first convolution and what follows."""
    body: Tensor
    """(C, C, 3, 3), of what the last block makes."""
    first_block: Tensor
    """(C, C, 1, 1), of what the first block makes."""
    activation: Tensor
    """(C, C, 1, 1), of the last block's activated output."""
    bias: Tensor
    """(C,)"""


class SpanPP(Body):
    """The inference network: ``(N, C, H, W) -> (N, 3, round(H*s), round(W*s))``.

    A shallow copy shares every weight and has a `scale` of its own: that is how one
    model is bound to several scales at once.
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

    @property
    def dtype(self) -> torch.dtype:
        """Of the body's convolutions, where the work is."""
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
        """Returns a copy with the body in ``dtype``; the kernel generator is shared."""
        cast = SpanPP(self.hyper)
        cast.load_state_dict(self.state_dict())
        cast.upsampler = self.upsampler
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
        scale = grid_scale(self.scale)
        return self.region(x, scale, window).contiguous()

    def _whole(self, x: Tensor, scale: int) -> Tensor:
        """The forward pass at a whole scale, without arithmetic on the image's size.

        That is what a tracer can follow: hosts export ONNX files of any image size.
        """
        features = self.features(x)
        weight = self.upsampler.whole(scale, features.dtype, features.device)
        return shuffled(features, weight, scale).to(x.dtype).contiguous()

    @override
    def features(self, x: Tensor) -> Tensor:
        """What `Body.features` says, in the dtype of the last convolution.

        Everything behind the activations is linear: it is composed into a convolution
        of each map that it reads. No map is concatenated, the first is not kept at all.
        """
        dtype = end_dtype(self.dtype)
        layout = conv_layout(x.device, self.dtype)
        x = x.to(dtype).contiguous(memory_format=layout)
        last = self.last_layers()
        b1, b, o1 = self.blocks(self.conv0(x).to(self.dtype))
        y = F.conv2d(b, last.body.to(b), padding=1)
        del b
        y.add_(F.conv2d(b1, last.first_block.to(b1)))
        del b1
        y.add_(F.conv2d(o1, last.activation.to(o1)))
        del o1
        return F.conv2d(x, last.image.to(x), last.bias.to(x), padding=1).add_(y)

    def last_layers(self) -> LastLayers:
        """Composes `conv_cat` with the linear layers before it, in float32 or more.

        It takes a tenth of a millisecond, so that nothing has to be kept in step with
        the weights.
        """
        exact = torch.promote_types(self.dtype, torch.float32)

        def weights(name: str) -> Iterator[Tensor]:
            for kind in ("weight", "bias"):
                yield self.get_parameter(f"{name}.{kind}").to(exact)

        joined, bias = weights("conv_cat")
        parts = joined.chunk(4, dim=1)
        image = then_1x1(Conv3x3(*weights("conv0.conv_3x3_rep")), parts[0])
        body = then_1x1(Conv3x3(*weights("conv_2.conv_3x3_rep")), parts[1])
        bias = bias + image.bias + body.bias
        return LastLayers(image.weight, body.weight, parts[2], parts[3], bias)

    def region(self, x: Tensor, scale: Fraction, window: Window) -> Tensor:
        """Computes a rectangle of the output from the part of the input it depends on.

        The result is that of the whole image, to rounding, if ``x`` reaches `halo`
        pixels beyond the cells of ``window``, or to the edge of the image.

        Args:
            x: (N, in_channels, h, w), the part of the image at ``window.top, .left``.
            scale: The grid, see `grid_scale`; the same for every part of an image.
            window: The output pixels wanted.

        Returns:
            (N, 3, len(window.rows), len(window.cols)), not clamped, dtype of ``x``.
        """
        return self.pixels(self.features(x), scale, window).to(x.dtype)

    def pixels(self, features: Tensor, scale: Fraction, window: Window) -> Tensor:
        """Returns the output pixels of a window, from the features of its input."""
        kernels = self.upsampler.cached(scale, features.dtype, features.device)
        return kernels.render(features, window)
