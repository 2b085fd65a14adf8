"""The linear layers after the last activations, as one convolution per feature map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .body import Body
from .reparam import Conv3x3, then_1x1


class LastLayers(NamedTuple):
    """One convolution per feature map; the features are their sum, plus a bias.

    `Body.features` concatenates four maps and joins them by a 1x1 convolution. Two of the
    maps are convolutions themselves, so all of this is linear, and composing it saves
    the concatenation and the first feature map.
    """

    image: Tensor
    """(C, in_channels, 3, 3), applied to the image."""
    last_block: Tensor
    """(C, C, 3, 3), applied to the output of the last block."""
    first_block: Tensor
    """(C, C, 1, 1), applied to the output of the first block."""
    last_activation: Tensor
    """(C, C, 1, 1), applied to the second output of the last block."""
    bias: Tensor
    """(C,)"""

    @staticmethod
    def of(body: Body, dtype: torch.dtype) -> LastLayers:
        """Composes `conv_cat` with the linear layers before it.

        It takes a tenth of a millisecond, so it is done at each call and is never out of
        step with the weights.

        Args:
            body: With plain convolutions, `RepConv`.
            dtype: What to compute in: float32 or more, as each product is rounded.
        """

        def conv(name: str) -> Conv3x3:
            kinds = ("weight", "bias")
            return Conv3x3(
                *(body.get_parameter(f"{name}.{k}").to(dtype) for k in kinds)
            )

        joined, bias = conv("conv_cat")
        # contiguous: Apple's MPS has misread slices of channels
        parts = [part.contiguous() for part in joined.chunk(4, dim=1)]
        image = then_1x1(conv("conv0.conv_3x3_rep"), parts[0])
        after = then_1x1(conv("conv_2.conv_3x3_rep"), parts[1])
        bias = bias + image.bias + after.bias
        return LastLayers(image.weight, after.weight, parts[2], parts[3], bias)
