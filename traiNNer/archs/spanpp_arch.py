"""Registers SpanPP with traiNNer-redux, which imports every ``*_arch.py`` beside this."""

from __future__ import annotations

from torch import nn

from traiNNer.utils.config import Config
from traiNNer.utils.registry import ARCH_REGISTRY
from traiNNer.utils.spanpp_scales import checked_eval_scale, checked_scales


@ARCH_REGISTRY.register()
def SpanPP(  # noqa: N802
    *,
    scale: int = 4,
    scale_list: list[int] | None = None,
    eval_base_scale: int | None = None,
    num_in_ch: int = 3,
    feature_channels: int = 48,
    ig_kernel_size: int = 3,
    implicit_dim: int = 256,
    latent_layers: int = 4,
) -> nn.Module:
    """SpanPP: one model for every scale of a list.

    It also prepares the trainer for such a network: see `traiNNer.models.spanpp_model`.

    Args:
        scale: The largest of them; the trainer fills it in.
        scale_list: The scales to train, by default 1 to ``scale``.
        eval_base_scale: The scale of all but training (validation, tests, ONNX), by
            default ``scale``.
        num_in_ch: Channels of the input image; the output always has 3.
        feature_channels: C, of the body.
        ig_kernel_size: K, of the upsampler's convolution; odd.
        implicit_dim: D, width of the kernel generator; even.
        latent_layers: L, hidden layers of the kernel generator.

    Raises:
        ValueError: The options do not fit together; the message says what to do.
        SystemExit: Likewise, in a run of the trainer: one line that names the config.
    """
    # These import all architectures, and so this module.
    from traiNNer.archs.spanpp_network import SpanPPNetwork  # noqa: PLC0415
    from traiNNer.models import spanpp_model  # noqa: PLC0415
    from traiNNer.utils import spanpp_config  # noqa: PLC0415

    if Config.is_loaded():
        spanpp_config.check_loaded()
    spanpp_model.install()
    scales = checked_scales(scale_list, scale)
    return SpanPPNetwork(
        scales=scales,
        eval_base_scale=checked_eval_scale(eval_base_scale, scales),
        num_in_ch=num_in_ch,
        feature_channels=feature_channels,
        ig_kernel_size=ig_kernel_size,
        implicit_dim=implicit_dim,
        latent_layers=latent_layers,
    )
