"""SpanPP's training network with the interface that the trainer expects.

There is one definition of the network, that of SpanPP's package, which also reads and runs
what is trained here; ``traiNNer/spanpp_core`` is a copy of the part that training needs.
This module adds what the trainer asks of a network: a forward pass without a scale, files
with the keys of public checkpoints, and loading of any such file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from traiNNer.spanpp_core.checkpoint import parse
from traiNNer.spanpp_core.export.frozen import Frozen
from traiNNer.spanpp_core.network.body import BODY_RADIUS
from traiNNer.spanpp_core.network.branches import STEADY_ALPHA, SpanPPBranches
from traiNNer.spanpp_core.network.hyperparameters import Hyperparameters

CACHES = (
    ".conv_3x3_rep.weight",
    ".conv_3x3_rep.bias",
    ".eval_conv.weight",
    ".eval_conv.bias",
)


class SpanPPNetwork(SpanPPBranches):
    """SpanPP in training: ``(N, C, H, W) -> (N, 3, H*s, W*s)`` at the scale `scale`."""

    def __init__(
        self,
        *,
        scales: tuple[int, ...],
        eval_base_scale: int,
        num_in_ch: int,
        feature_channels: int,
        ig_kernel_size: int,
        implicit_dim: int,
        latent_layers: int,
    ) -> None:
        super().__init__(
            Hyperparameters(
                channels=feature_channels,
                in_channels=num_in_ch,
                kernel_size=ig_kernel_size,
                implicit_dim=implicit_dim,
                latent_layers=latent_layers,
                scales=scales,
            ),
            STEADY_ALPHA,
        )
        self.eval_base_scale = eval_base_scale
        self.scale = eval_base_scale
        """The scale of the next forward pass."""
        self.hyperparameters = {
            "scale_list": list(scales),
            "eval_base_scale": eval_base_scale,
            "num_in_ch": num_in_ch,
            "feature_channels": feature_channels,
            "ig_kernel_size": ig_kernel_size,
            "implicit_dim": implicit_dim,
            "latent_layers": latent_layers,
        }
        """What the trainer stores in the metadata of a checkpoint."""
        self.register_load_state_dict_pre_hook(_to_branches)

    @property
    def halo(self) -> int:
        """How far an output pixel depends on the input, in input pixels."""
        return BODY_RADIUS + self.hyper.kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        """Upscales by `scale`."""
        return super().forward(x, self.scale)

    def frozen(self) -> Frozen:
        """Returns the plain network of `eval_base_scale`, which ONNX has a form for."""
        return Frozen(parse(self.state_dict()), self.eval_base_scale)

    def state_dict(
        self, *args: Any, prefix: str = "", keep_vars: bool = False, **options: Any
    ) -> dict[str, Any]:
        """Returns what a file holds: the trained tensors and the caches, made anew.

        Other readers know the network by the caches; trainers that keep them as
        parameters save stale or averaged ones. ``keep_vars`` asks for what is trained,
        as exporters do, and gets nothing else.
        """
        state = super().state_dict(*args, prefix=prefix, keep_vars=keep_vars, **options)
        if not keep_vars:
            state |= {
                prefix + name: value
                for name, value in self.published_fused_kernels().items()
            }
        return state

    def map_state_dict(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a file's tensors under the keys that `state_dict` has here.

        The trainer compares the two before it loads anything.
        """
        mapped = dict(state_dict)
        _to_branches(self, mapped)
        return mapped | self.published_fused_kernels()


def _to_branches(
    module: SpanPPNetwork, state: dict[str, Any], prefix: str = "", *_: object
) -> None:
    """Makes the trained tensors alone of a file's, in place.

    The scales are those of this network, whatever the file was trained for. A fused
    file gets branches that amount to the same.
    """
    names = [key[len(prefix) :] for key in state if key.startswith(prefix)]
    if "conv0.conv_3x3_rep.weight" in names and "conv0.conv2.weight" not in names:
        fused = {name: state[prefix + name] for name in names}
        branches = module.branches_for(fused)
        state.update({prefix + name: value for name, value in branches.items()})
    for name in names:
        if name.endswith(CACHES):
            del state[prefix + name]
    state[f"{prefix}MetaIGConv"] = module.MetaIGConv
