"""Whether a network fits into float16: how large its numbers become.

float16 ends at 65504; what is larger becomes infinite, and the image black.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..network.autocast import autocast_disabled
from ..network.hyperparameters import Hyperparameters
from ..network.model import SpanPP

FLOAT16_MAX: float = torch.finfo(torch.float16).max
"""The largest value of float16."""

HEADROOM = 4.0
"""How much larger the maps of an image may be than those of `largest_value`."""

_SIDE = 16
"""Side in pixels of the image that is tried."""


def largest_value(hyper: Hyperparameters, state_dict: Mapping[str, Tensor]) -> float:
    """Returns the largest magnitude of a network's weights and feature maps.

    The weights are those that run: fused, composed (`LastLayers`) and generated. The maps
    are those of black and white noise, in float32 on the CPU: 10 ms at 48 channels.

    Args:
        hyper: The network's.
        state_dict: The canonical one, see `Checkpoint`.
    """
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.device("cpu"),
        autocast_disabled("cpu"),
    ):
        network = SpanPP.blank(hyper)
        network.load_state_dict(state_dict)
        sizes = [_size(weight) for weight in network.parameters()]
        sizes += [_size(weight) for weight in network.last_layers()]

        def note(_module: nn.Module, _given: object, made: Tensor) -> None:
            sizes.append(_size(made))  # at once: the activation behind works in place

        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(note)
        random = torch.Generator().manual_seed(0)
        noise = torch.rand((1, hyper.in_channels, _SIDE, _SIDE), generator=random)
        features = network.features(noise.round_())
        kernel = network.upsampler.whole(1, torch.float32, features.device)
        sizes += [_size(features), _size(kernel)]
        return float(torch.stack(sizes).max())


def _size(tensor: Tensor) -> Tensor:
    return tensor.abs().max()
