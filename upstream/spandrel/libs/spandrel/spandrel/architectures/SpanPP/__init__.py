import math

import torch
from typing_extensions import override

from spandrel.util import KeyCondition, get_seq_len

from ...__helpers.model_descriptor import Architecture, ImageModelDescriptor, StateDict
from .__arch.spanpp import BRANCHES, SpanPP, fuse


class SpanPPArch(Architecture[SpanPP]):
    def __init__(self) -> None:
        super().__init__(
            id="SpanPP",
            detect=KeyCondition.has_all(
                # fused after training, or three branches
                KeyCondition.has_any(
                    "conv0.conv_3x3_rep.weight",
                    "conv0.conv2.weight",
                ),
                KeyCondition.has_any(
                    "block_6.c3_r.conv_3x3_rep.weight",
                    "block_6.c3_r.conv2.weight",
                ),
                "conv_cat.weight",
                "upsampler.freq",
                "upsampler.amplitude",
                "upsampler.phase.weight",
                "upsampler.query_kernel.0.weight",
            ),
        )

    @override
    def load(self, state_dict: StateDict) -> ImageModelDescriptor[SpanPP]:
        state_dict = _fused(state_dict)

        first = state_dict["conv0.conv_3x3_rep.weight"]
        feature_channels: int = first.shape[0]
        num_in_ch: int = first.shape[1]
        taps, implicit_dim = state_dict["upsampler.freq"].shape[:2]
        ig_kernel_size = math.isqrt(taps // feature_channels)
        # every hidden layer is followed by an activation
        latent_layers = get_seq_len(state_dict, "upsampler.query_kernel") // 2

        # The trained scales. Interpolated models hold them as floats.
        meta = state_dict.get("MetaIGConv", torch.tensor([1, 2, 3, 4]))
        scale_list = sorted({round(scale) for scale in meta.flatten().tolist()})
        state_dict["MetaIGConv"] = torch.tensor(scale_list, dtype=torch.uint8)
        # A file does not say which scale is the base scale.
        scale = 2 if 2 in scale_list else scale_list[-1]

        model = SpanPP(
            num_in_ch=num_in_ch,
            feature_channels=feature_channels,
            ig_kernel_size=ig_kernel_size,
            implicit_dim=implicit_dim,
            latent_layers=latent_layers,
            scale_list=scale_list,
            eval_base_scale=scale,
        )

        return ImageModelDescriptor(
            model,
            state_dict,
            architecture=self,
            purpose="Restoration" if scale == 1 else "SR",
            tags=[f"{feature_channels}nf"],
            supports_half=True,
            supports_bfloat16=True,
            scale=scale,
            input_channels=num_in_ch,
            output_channels=3,
        )


def _fused(state_dict: StateDict) -> StateDict:
    """
    Returns the state dict with every convolution fused.
    """
    fused: StateDict = {
        key: value
        for key, value in state_dict.items()
        if key.startswith(("conv_cat.", "upsampler.", "MetaIGConv"))
        or ".conv_3x3_rep." in key
    }
    suffix = f".{BRANCHES[0]}"
    for key in state_dict:
        if key.endswith(suffix):
            conv = key[: -len(suffix)]
            weight, bias = fuse(state_dict, conv)
            fused[f"{conv}.conv_3x3_rep.weight"] = weight
            fused[f"{conv}.conv_3x3_rep.bias"] = bias
    return fused


__all__ = ["SpanPP", "SpanPPArch"]
