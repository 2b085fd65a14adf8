"""The network in OpenVINO, which runs it faster than PyTorch on CPUs.

OpenVINO fuses what lies between two convolutions into one pass. The graph is written
from the weights of the network as it is, and takes images of any size.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..network.kernels import crop
from ..network.model import SpanPP
from ..network.scale import Window
from ..optional import require

DTYPES = (torch.float32, torch.bfloat16)
"""What it runs here: in bfloat16 the ends are float32, as in `SpanPP`."""

MAPS = 7
"""Feature maps in memory at once, as measured: 6 in float32, 7 in bfloat16."""

KEPT_BYTES = 256 * 2**20
"""How much memory for feature maps may be kept from one run to the next."""


class OpenVINORunner:
    """A network as OpenVINO has it; a graph is compiled for each whole scale in 0.1 s.

    Raises:
        Exception: OpenVINO is not installed, or cannot compile it here.
    """

    def __init__(self, network: SpanPP) -> None:
        self._ov = require("The backend openvino", "openvino", "openvino")
        self._op = require("The backend openvino", "openvino", "openvino.opset13")
        if network.conv_cat.weight.device.type != "cpu" or network.dtype not in DTYPES:
            raise ValueError("here it is for CPUs, in float32 or bfloat16")
        self._threads = torch.get_num_threads()
        self._models: dict[Fraction | None, Any] = {}
        self._kept = 0
        scale = network.scale
        self._model(network, Fraction(scale) if isinstance(scale, int) else None)

    @staticmethod
    def map_channels(channels: int, dtype: torch.dtype, device: torch.device) -> int:
        """As `Runner.map_channels`: they are not padded."""
        return channels

    def region(self, network: SpanPP) -> Callable[[Tensor, Fraction, Window], Tensor]:
        """Returns what runs the network that was compiled."""
        inferences: dict[Fraction | None, Any] = {}

        def infer(x: Tensor, scale: Fraction | None) -> Tensor:
            if scale not in inferences:
                inferences[scale] = self._model(network, scale).create_infer_request()
            maps = MAPS * network.hyper.channels * x[:, 0].numel()
            self._kept = max(self._kept, maps * network.dtype.itemsize)
            images = np.ascontiguousarray(x.float().numpy())
            outputs = inferences[scale].infer(
                [images], share_inputs=True, share_outputs=True
            )
            return torch.from_numpy(outputs[0])

        def region(x: Tensor, scale: Fraction, window: Window) -> Tensor:
            if scale.denominator == 1:
                y = crop(infer(x, scale), window, scale.numerator)
            else:
                y = network.pixels(infer(x, None).permute(0, 3, 1, 2), scale, window)
            return y.to(x.dtype)

        return region

    def trim(self) -> None:
        """Gives back the memory of the feature maps, if it is much."""
        if self._kept > KEPT_BYTES:
            try:
                for model in list(self._models.values()):
                    model.release_memory()
            except RuntimeError:  # another thread is at work, and gives it back behind
                return
            self._kept = 0

    def _model(self, network: SpanPP, scale: Fraction | None) -> Any:
        """The compiled graph of a whole scale, or of the features alone."""
        if scale not in self._models:
            settings = {
                "EXECUTION_MODE_HINT": "ACCURACY",  # the dtypes are those of the graph
                "INFERENCE_NUM_THREADS": self._threads,
                "NUM_STREAMS": 1,
                "ENABLE_CPU_PINNING": False,  # there may be other processes
            }
            graph = _graph(self._ov, self._op, network, scale)
            self._models[scale] = self._ov.Core().compile_model(graph, "CPU", settings)
        return self._models[scale]


def _graph(ov: Any, op: Any, network: SpanPP, scale: Fraction | None) -> Any:
    """Writes the network at a whole scale, or its features alone, channels last."""
    name = {torch.float32: "f32", torch.bfloat16: "bf16"}[network.dtype]

    def constant(tensor: Tensor, to: str) -> Any:
        value = op.constant(tensor.detach().float().contiguous().numpy())
        return value if to == "f32" else op.convert(value, to)

    def cast(value: Any, to: str) -> Any:
        return value if name == "f32" else op.convert(value, to)

    def conv(
        value: Any, weight: Tensor, bias: Tensor | None = None, to: str = name
    ) -> Any:
        pads = [weight.shape[-1] // 2] * 2
        made = op.convolution(value, constant(weight, to), [1, 1], pads, pads, [1, 1])
        if bias is None:
            return made
        return op.add(made, constant(bias.view(1, -1, 1, 1), to))

    def layer(path: str, value: Any, to: str = name) -> Any:
        weight = network.get_parameter(f"{path}.conv_3x3_rep.weight")
        bias = network.get_parameter(f"{path}.conv_3x3_rep.bias")
        return conv(value, weight, bias, to)

    def silu(value: Any) -> Any:
        return op.multiply(value, op.sigmoid(value))

    def block(path: str, value: Any) -> tuple[Any, Any]:
        o1 = silu(layer(f"{path}.c1_r", value))
        o3 = layer(f"{path}.c3_r", silu(layer(f"{path}.c2_r", o1)))
        half = constant(torch.full((1, 1, 1, 1), 0.5, device="cpu"), name)
        attention = op.subtract(op.sigmoid(o3), half)
        return op.multiply(op.add(o3, value), attention), o1

    image = op.parameter([-1, network.hyper.in_channels, -1, -1], ov.Type.f32)
    b1, o1 = block("block_1", cast(layer("conv0", image, "f32"), name))
    b = b1
    for index in range(2, 7):
        b, o1 = block(f"block_{index}", b)
    last = network.last_layers()
    y = op.add(conv(b1, last.first_block), conv(o1, last.last_activation))
    y = cast(op.add(conv(b, last.last_block), y), "f32")
    y = op.add(y, conv(image, last.image, last.bias, to="f32"))
    if scale is None:
        y = op.transpose(y, op.constant(np.array([0, 2, 3, 1])))
    else:
        whole, cpu = scale.numerator, torch.device("cpu")
        weight = network.upsampler.whole(whole, torch.float32, cpu)
        y = conv(y, weight, to="f32")
        y = op.depth_to_space(y, "depth_first", scale.numerator)
    return ov.Model([op.result(y)], [image], "SpanPP")
