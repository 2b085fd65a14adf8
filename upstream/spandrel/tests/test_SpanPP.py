import torch
from torch.nn import functional

from spandrel.architectures.SpanPP import SpanPP, SpanPPArch

from .util import (
    ModelFile,
    TestImage,
    assert_image_inference,
    assert_loads_correctly,
    assert_size_requirements,
    disallowed_props,
    skip_if_unchanged,
)

skip_if_unchanged(__file__)

URL = "https://github.com/OWNER/spanpp/releases/download/v0.1.0/spanpp_c48.safetensors"


def test_load():
    assert_loads_correctly(
        SpanPPArch(),
        lambda: SpanPP(),
        lambda: SpanPP(num_in_ch=1),
        lambda: SpanPP(num_in_ch=4),
        lambda: SpanPP(feature_channels=16),
        lambda: SpanPP(ig_kernel_size=1),
        lambda: SpanPP(ig_kernel_size=5),
        lambda: SpanPP(implicit_dim=32),
        lambda: SpanPP(latent_layers=0),
        lambda: SpanPP(latent_layers=2),
        lambda: SpanPP(scale_list=(2, 4)),
        lambda: SpanPP(scale_list=(1, 3), eval_base_scale=3),
        lambda: SpanPP(scale_list=(1,), eval_base_scale=1),
        lambda: SpanPP(scale_list=(1, 2, 8)),
    )


def test_training_checkpoint():
    torch.manual_seed(0)
    fused = SpanPP(feature_channels=4, implicit_dim=8).state_dict()
    state = {k: v for k, v in fused.items() if ".conv_3x3_rep." not in k}
    convs = [k[: -len(".weight")] for k in fused if k.endswith("conv_3x3_rep.weight")]
    for name in convs:
        conv = name[: -len(".conv_3x3_rep")]
        o, i = fused[f"{name}.weight"].shape[:2]
        for key, shape in {
            "alpha": (3,),
            "conv1.k0": (2 * o, i, 1, 1),
            "conv1.b0": (2 * o,),
            "conv1.k1": (o, 2 * o, 3, 3),
            "conv1.b1": (o,),
            "conv2.weight": (o, i, 3, 3),
            "conv2.bias": (o,),
            "conv3.sk.weight": (o, i, 1, 1),
            "conv3.sk.bias": (o,),
            "conv3.conv.0.weight": (2 * i, i, 1, 1),
            "conv3.conv.0.bias": (2 * i,),
            "conv3.conv.1.weight": (2 * o, 2 * i, 3, 3),
            "conv3.conv.1.bias": (2 * o,),
            "conv3.conv.2.weight": (o, 2 * o, 1, 1),
            "conv3.conv.2.bias": (o,),
            # what trainers leave behind
            "conv_3x3_rep.weight": (o, i, 3, 3),
            "conv_3x3_rep.bias": (o,),
        }.items():
            state[f"{conv}.{key}"] = torch.randn(shape) * 0.3

    arch = SpanPPArch()
    assert arch.detect(state)
    before = dict(state)
    model = arch.load(state).model
    assert state == before

    def get(key: str) -> torch.Tensor:
        return state[f"block_1.c1_r.{key}"]

    x = torch.rand(1, 4, 7, 6)
    padded = functional.pad(x, (1, 1, 1, 1))
    expanded = functional.conv2d(padded, get("conv1.k0"), get("conv1.b0"))
    expanded = functional.conv2d(expanded, get("conv1.k1"), get("conv1.b1"))
    plain = functional.conv2d(x, get("conv2.weight"), get("conv2.bias"), padding=1)
    bottleneck = padded
    for n in range(3):
        weight, bias = get(f"conv3.conv.{n}.weight"), get(f"conv3.conv.{n}.bias")
        bottleneck = functional.conv2d(bottleneck, weight, bias)
    bottleneck += functional.conv2d(x, get("conv3.sk.weight"), get("conv3.sk.bias"))
    alpha = get("alpha")
    expected = alpha[0] * expanded + alpha[1] * plain + alpha[2] * bottleneck
    with torch.no_grad():
        torch.testing.assert_close(
            model.block_1.c1_r(x), expected, rtol=1e-4, atol=1e-5
        )


def test_size_requirements():
    file = ModelFile.from_url(URL)
    assert_size_requirements(file.load_model())


def test_SpanPP_c48(snapshot):
    file = ModelFile.from_url(URL)
    model = file.load_model()
    assert model == snapshot(exclude=disallowed_props)
    assert isinstance(model.model, SpanPP)
    assert_image_inference(
        file,
        model,
        [TestImage.SR_16, TestImage.SR_32, TestImage.SR_64],
    )
