"""
SpanPP (https://github.com/umzi2/spanpp, MIT): the body of SPAN (Apache-2.0), and the upsampler of IGConv (MIT).

One model holds a generator that makes the upsampler's kernel for any scale. Here it is
made once, for one scale, when the weights are loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spandrel.util import store_hyperparameters

BRANCHES = (
    "alpha",
    "conv1.k0",
    "conv1.b0",
    "conv1.k1",
    "conv1.b1",
    "conv2.weight",
    "conv2.bias",
    "conv3.sk.weight",
    "conv3.sk.bias",
    "conv3.conv.0.weight",
    "conv3.conv.0.bias",
    "conv3.conv.1.weight",
    "conv3.conv.1.bias",
    "conv3.conv.2.weight",
    "conv3.conv.2.bias",
)
"""The tensors that a training checkpoint has of each convolution."""


def fuse(state_dict: Mapping[str, Tensor], conv: str) -> tuple[Tensor, Tensor]:
    """
    Returns the weight and bias of the 3x3 convolution that the branches of a training checkpoint amount to.

    Checkpoints store a fused kernel beside the branches too. It must not be used: most trainers save it out of date.
    """
    tensors = [state_dict[f"{conv}.{name}"].float() for name in BRANCHES]
    alpha, k0, b0, k1, b1, plain, plain_bias = tensors[:7]
    skip, skip_bias, w0, c0, w1, c1, w2, c2 = tensors[7:]

    def expand(first: Tensor, first_bias: Tensor, second: Tensor, bias: Tensor):
        # a 1x1 convolution, then a 3x3 one
        weight = torch.einsum("omhw,mi->oihw", second, first.flatten(1))
        return weight, torch.einsum("omhw,m->o", second, first_bias) + bias

    expanded, expanded_bias = expand(k0, b0, k1, b1)
    inner, inner_bias = expand(w0, c0, w1, c1)
    project = w2.flatten(1)
    bottleneck = torch.einsum("om,mihw->oihw", project, inner) + F.pad(skip, (1,) * 4)
    bottleneck_bias = project @ inner_bias + c2 + skip_bias
    weight = alpha[0] * expanded + alpha[1] * plain + alpha[2] * bottleneck
    bias = alpha[0] * expanded_bias + alpha[1] * plain_bias + alpha[2] * bottleneck_bias
    return weight.contiguous(), bias.contiguous()


class RepConv(nn.Module):
    """A 3x3 convolution, fused from three branches after training."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv_3x3_rep = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_3x3_rep(x)


class SPAB(nn.Module):
    """The block of SPAN."""

    def __init__(self, channels: int):
        super().__init__()
        self.c1_r = RepConv(channels, channels)
        self.c2_r = RepConv(channels, channels)
        self.c3_r = RepConv(channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # The second output is activated, because the original activates in place.
        out1 = F.silu(self.c1_r(x))
        out3 = self.c3_r(F.silu(self.c2_r(out1)))
        return (out3 + x) * (torch.sigmoid(out3) - 0.5), out1


class IGConv(nn.Module):
    """An MLP over a Fourier basis, which makes the kernel of each position within a pixel."""

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        implicit_dim: int,
        latent_layers: int,
        max_scale: int,
    ):
        super().__init__()
        self.channels = channels
        self.kernel_size = kernel_size
        self.max_scale = max_scale
        taps = channels * kernel_size**2
        self.phase = nn.Conv2d(1, implicit_dim // 2, 1)
        self.freq = nn.Parameter(torch.randn(taps, implicit_dim, 1, 1) * 0.02)
        self.amplitude = nn.Parameter(torch.randn(taps, implicit_dim, 1, 1) * 0.02)
        layers: list[nn.Module] = []
        for _ in range(latent_layers):
            layers += [nn.Conv2d(implicit_dim, implicit_dim, 1), nn.ReLU()]
        self.query_kernel = nn.Sequential(*layers, nn.Conv2d(implicit_dim, 3, 1))

    @torch.no_grad()
    def kernel(self, scale: int) -> Tensor:
        """
        Returns the kernel of a whole scale: (3 * scale * scale, channels, kernel_size, kernel_size).

        Output channels are ordered (rgb, row, column), as pixel shuffle expects them.
        """
        positions = torch.arange(scale).to(self.freq) * 2
        at = -1 + (positions + 1) / scale
        freq_x, freq_y = self.freq.flatten(1).chunk(2, dim=1)  # (taps, dim / 2)
        assert self.phase.bias is not None
        phase = self.phase.weight.flatten() * (2 / min(scale, self.max_scale))
        phase = phase + self.phase.bias
        # (row, column, taps, dim / 2)
        angle = freq_y * at[:, None, None, None] + freq_x * at[:, None, None] + phase
        angle = angle * math.pi
        values = torch.cat([angle.cos(), angle.sin()], dim=-1)
        values = values * self.amplitude.flatten(1)
        for layer in self.query_kernel:
            if isinstance(layer, nn.Conv2d):
                values = F.linear(values, layer.weight.flatten(1), layer.bias)
            else:
                values = layer(values)
        k = self.kernel_size
        values = values.view(scale, scale, self.channels, k, k, 3)
        return values.permute(5, 0, 1, 2, 3, 4).flatten(0, 2).contiguous()


@store_hyperparameters()
class SpanPP(nn.Module):
    """
    SpanPP at one whole scale, `eval_base_scale`.
    """

    hyperparameters = {}

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        feature_channels: int = 48,
        ig_kernel_size: int = 3,
        implicit_dim: int = 256,
        latent_layers: int = 4,
        scale_list: Sequence[int] = (1, 2, 3, 4),
        eval_base_scale: int = 2,
    ):
        super().__init__()
        c = feature_channels
        self.scale = eval_base_scale
        self.conv0 = RepConv(num_in_ch, c)
        self.block_1 = SPAB(c)
        self.block_2 = SPAB(c)
        self.block_3 = SPAB(c)
        self.block_4 = SPAB(c)
        self.block_5 = SPAB(c)
        self.block_6 = SPAB(c)
        self.conv_2 = RepConv(c, c)
        self.conv_cat = nn.Conv2d(4 * c, c, 1)
        self.upsampler = IGConv(
            c, ig_kernel_size, implicit_dim, latent_layers, max(scale_list)
        )
        self.register_buffer("MetaIGConv", torch.tensor(scale_list, dtype=torch.uint8))

        # Made before anyone casts the generator, which is sensitive to rounding.
        self.kernel: Tensor
        kernel = self.upsampler.kernel(self.scale)
        self.register_buffer("kernel", kernel, persistent=False)
        self.register_load_state_dict_post_hook(SpanPP._update_kernel)

    def _update_kernel(self, _: object) -> None:
        self.kernel = self.upsampler.kernel(self.scale)

    def forward(self, x: Tensor) -> Tensor:
        out0 = self.conv0(x)
        out1, _ = self.block_1(out0)
        out2, _ = self.block_2(out1)
        out3, _ = self.block_3(out2)
        out4, _ = self.block_4(out3)
        out5, _ = self.block_5(out4)
        out6, inner6 = self.block_6(out5)
        maps = torch.cat([out0, self.conv_2(out6), out1, inner6], dim=1)
        features = self.conv_cat(maps)
        pixels = F.conv2d(features, self.kernel, padding=self.kernel.shape[-1] // 2)
        return F.pixel_shuffle(pixels, self.scale)
