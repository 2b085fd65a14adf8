"""Runs the Triton kernels in Triton's interpreter; prints what they differ by, as JSON.

A program of its own: Triton reads ``TRITON_INTERPRET`` when it is imported.
"""

from __future__ import annotations

import itertools
import json

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import spanpp_core
from spanpp_core.backends import triton_kernels
from spanpp_core.backends.triton import TritonRunner
from spanpp_core.network.hyperparameters import Hyperparameters
from spanpp_core.network.model import SpanPP

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def block_outputs(
    network: SpanPP, x: Tensor, runner: TritonRunner | None
) -> list[Tensor]:
    """What each of the six blocks makes of an image, in float32."""
    f0 = network.conv0(x).to(network.dtype)
    outputs = [f0]
    for index in range(6):
        block = network.get_submodule(f"block_{index + 1}")
        given = outputs[-1].clone()
        made = block(given) if runner is None else runner._block(index, given)
        outputs.append(made[0])
    return [output.float() for output in outputs[1:]]


def differences_of_blocks() -> dict[str, dict[str, list[float]]]:
    """How far each block is from float32: by the kernels, and by PyTorch."""
    model = spanpp_core.load(spanpp_core.bundled_model())
    photo = np.asarray(Image.open(spanpp_core.bundled_photo()).convert("RGB"))
    crop = torch.from_numpy(photo[240:256, 400:420].astype(np.float32) / 255)
    image = crop.movedim(-1, 0)[None]
    exact = block_outputs(model.model, image, None)
    found: dict[str, dict[str, list[float]]] = {}
    for dtype in DTYPES:
        network = model.with_dtype(dtype).model
        ends = image.to(network.conv0.conv_3x3_rep.weight.dtype)
        found[str(dtype)] = {
            name: [
                (made - expected).abs().max().item()
                for made, expected in zip(block_outputs(network, ends, runner), exact)
            ]
            for name, runner in (("kernels", TritonRunner(network)), ("PyTorch", None))
        }
    return found


def differences_of_kernels() -> list[list[object]]:
    """Every kernel at shapes with tails, in both layouts: name, case, largest difference."""
    found: list[list[object]] = []
    cases = itertools.product(
        ((1, 48, 5, 7), (2, 12, 1, 9), (3, 7, 4, 1), (1, 48, 1, 1), (2, 16, 9, 15)),
        (torch.channels_last, torch.contiguous_format),
        (torch.float32, torch.float16),
    )
    for shape, layout, dtype in cases:
        maps = [
            torch.randn(shape).to(dtype).contiguous(memory_format=layout)
            for _ in range(4)
        ]
        bias = torch.randn(shape[1]).to(dtype)
        y, x, z, w = (each.float() for each in maps)
        column = bias.float().view(1, -1, 1, 1)
        o = y + column
        expected = {
            "silu_": F.silu(o),
            "residual_gate_": (o + x) * (o.sigmoid() - 0.5),
            "sum_bias_": y + x + z + w + column,
            "add_bias": o,
        }
        mixed = x.to(dtype).contiguous()  # a convolution may choose another layout
        made = {
            "silu_": triton_kernels.silu_(maps[0].clone(), bias),
            "residual_gate_": triton_kernels.residual_gate_(
                maps[0].clone(), bias, mixed
            ),
            "sum_bias_": triton_kernels.sum_bias_(
                (maps[0], mixed, maps[2]), bias, maps[3].clone()
            ),
            "add_bias": triton_kernels.add_bias(maps[0].clone(), bias, torch.bfloat16),
        }
        for name, result in made.items():
            off = (result.float() - expected[name]).abs().max().item()
            found.append([name, f"{shape} {layout} {dtype}", off])
    return found


def launches_of_a_pass() -> int:
    """How many of the kernels run between the convolutions of one pass."""
    small = SpanPP(Hyperparameters(channels=4, implicit_dim=8, latent_layers=1))
    runner, launch = TritonRunner(small), triton_kernels._launch
    launched: list[object] = []

    def counted(kernel: object, *tensors: object, **constants: object) -> None:
        launched.append(kernel)
        launch(kernel, *tensors, **constants)

    triton_kernels._launch = counted
    runner.features(torch.rand(1, 3, 4, 5))
    triton_kernels._launch = launch
    return len(launched)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with torch.no_grad():
        kernels, blocks = differences_of_kernels(), differences_of_blocks()
        launches = launches_of_a_pass()
    print(json.dumps({"kernels": kernels, "blocks": blocks, "launches": launches}))
