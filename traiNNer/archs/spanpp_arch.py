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
        ValueError: The options do not fit together, or the training was not started by
            the launcher; the message says what to do.
    """
    scales = checked_scales(scale_list, scale)
    eval_scale = checked_eval_scale(eval_base_scale, scales)
    if len(scales) > 1 and _trained_without_launcher():
        raise ValueError(
            "the trainer's train.py knows one scale; start the training of SpanPP with"
            " `python traiNNer/train_spanpp.py -opt ...`"
        )
    try:
        # not above: whoever trains another network does not need the package
        from traiNNer.archs.spanpp_network import SpanPPNetwork  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(
            f"SpanPP needs its package ({error}): pip install the folder that this"
            " traiNNer folder came in"
        ) from error
    return SpanPPNetwork(
        scales=scales,
        eval_base_scale=eval_scale,
        num_in_ch=num_in_ch,
        feature_channels=feature_channels,
        ig_kernel_size=ig_kernel_size,
        implicit_dim=implicit_dim,
        latent_layers=latent_layers,
    )


def _trained_without_launcher() -> bool:
    """Whether the trainer is about to train a SpanPP at one scale only."""
    if not Config.is_loaded():
        return False
    opt, _ = Config.get_config()
    network_g = opt.network_g or {}
    if not opt.is_train or str(network_g.get("type")).lower() != "spanpp":
        return False
    # imports the architectures itself, so not at the top
    from traiNNer import models  # noqa: PLC0415

    return not getattr(models.SRModel, "draws_scales", False)
