"""ncnn files at one whole scale, for realesrgan-ncnn-vulkan, Upscayl and Video2X.

Those programs look for the blobs ``data`` and ``output``, feed RGB in [0, 1], and do not
clamp what is below 0. They are built with few of ncnn's layers: Swish, Sigmoid, UnaryOp
and Clip are missing. So the activations are made of BinaryOp, which every build has:
``silu(x) = x / (1 + (1/e) ** x)``, where 1/e is a blob of the size of ``x``.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from torch import Tensor

from ..checkpoint import Checkpoint
from .frozen import one_kernel

Operation = Literal["add", "sub", "mul", "div", "min", "pow", "reverse_div"]

_OPERATIONS: dict[Operation, int] = {
    "add": 0,
    "sub": 1,
    "mul": 2,
    "div": 3,
    "min": 5,
    "pow": 6,
    "reverse_div": 8,
}
"""What BinaryOp calls its operations."""

_MAGIC = "7767517"
"""The first line of every text file of ncnn."""

_HALF_FLAG = 0x01306B47
"""What stands before weights that are stored as float16."""

_RELU = 1
"""What Convolution calls the activation that it may apply."""


class NcnnFiles(NamedTuple):
    """The two files of a network."""

    param: str
    """The layers, as text."""
    binary: bytes
    """The weights, in the order of the layers."""


def build(checkpoint: Checkpoint, scale: int, *, half: bool) -> NcnnFiles:
    """Returns the network at one scale: ``data`` (C, H, W) -> ``output`` (3, H*s, W*s).

    Both are RGB in [0, 1]; the output is clamped to it.

    Args:
        checkpoint: The model.
        scale: A whole scale.
        half: Store float16 weights.
    """
    graph = _Graph(half)
    tensors = checkpoint.state_dict

    def conv(name: str, blob: str) -> str:
        return graph.conv(blob, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    first = conv("conv0.conv_3x3_rep", graph.data)
    # no layer of these builds holds a constant: this is one of the size of the maps
    inverse_e = graph.binary("add", graph.binary("mul", first, 0.0), 1 / math.e)

    def one_plus_exp(blob: str) -> str:
        """1 + exp(-x)."""
        return graph.binary("add", graph.binary("pow", inverse_e, blob), 1.0)

    def silu(blob: str) -> str:
        return graph.binary("div", blob, one_plus_exp(blob))

    def block(name: str, blob: str) -> tuple[str, str]:
        o1 = silu(conv(f"{name}.c1_r.conv_3x3_rep", blob))
        o2 = silu(conv(f"{name}.c2_r.conv_3x3_rep", o1))
        o3 = conv(f"{name}.c3_r.conv_3x3_rep", o2)
        sigmoid = graph.binary("reverse_div", one_plus_exp(o3), 1.0)
        attention = graph.binary("sub", sigmoid, 0.5)
        return graph.binary("mul", graph.binary("add", o3, blob), attention), o1

    b1, o1 = block("block_1", first)
    b = b1
    for index in range(2, 7):
        b, o1 = block(f"block_{index}", b)
    b = conv("conv_2.conv_3x3_rep", b)
    features = conv("conv_cat", graph.layer("Concat", [first, b, b1, o1]))
    kernel = one_kernel(checkpoint, Fraction(scale))
    # clamped where the maps are smallest: ReLU is part of the convolution
    pixels = graph.binary("min", graph.conv(features, kernel, relu=True), 1.0)
    if scale > 1:
        pixels = graph.layer("PixelShuffle", [pixels], {0: scale})
    return graph.files(pixels)


@dataclass(frozen=True)
class _Layer:
    """One line of the text file."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    parameters: dict[int, int | str]

    def line(self) -> str:
        words = [self.kind, self.name, str(len(self.inputs)), str(len(self.outputs))]
        values = [f"{key}={value}" for key, value in self.parameters.items()]
        return " ".join([*words, *self.inputs, *self.outputs, *values])


class _Graph:
    """Layers and weights; blobs are known by their names."""

    data = "data"
    output = "output"

    def __init__(self, half: bool) -> None:
        self._half = half
        self._layers = [_Layer("Input", self.data, [], [self.data], {})]
        self._weights = bytearray()

    def layer(
        self,
        kind: str,
        inputs: list[str],
        parameters: dict[int, int | str] | None = None,
    ) -> str:
        """Adds a layer with one output and returns the output's name."""
        name = f"{kind.lower()}_{len(self._layers)}"
        self._layers.append(_Layer(kind, name, inputs, [name], parameters or {}))
        return name

    def conv(
        self,
        blob: str,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        relu: bool = False,
    ) -> str:
        """Adds a convolution that keeps the size."""
        size = weight.shape[-1]
        parameters: dict[int, int | str] = {
            0: len(weight),
            1: size,
            4: size // 2,
            5: int(bias is not None),
            6: weight.numel(),
        }
        if relu:
            parameters[9] = _RELU
        flag, stored = (_HALF_FLAG, weight.half()) if self._half else (0, weight)
        self._weights += struct.pack("<I", flag) + stored.numpy().tobytes()
        self._weights += bytes(-len(self._weights) % 4)
        if bias is not None:
            self._weights += bias.numpy().tobytes()
        return self.layer("Convolution", [blob], parameters)

    def binary(self, operation: Operation, blob: str, other: str | float) -> str:
        """Adds an operation between two blobs, or a blob and a number."""
        code = _OPERATIONS[operation]
        if isinstance(other, str):
            return self.layer("BinaryOp", [blob, other], {0: code})
        # older readers take no number of more than 15 characters
        return self.layer("BinaryOp", [blob], {0: code, 1: 1, 2: f"{other:.7e}"})

    def files(self, output: str) -> NcnnFiles:
        """Returns the files of everything added, of which one blob is the output."""
        layers = _with_splits(self._layers)
        last = next(layer for layer in layers if output in layer.outputs)
        last.outputs[:] = [self.output]
        blobs = sum(len(layer.outputs) for layer in layers)
        lines = [_MAGIC, f"{len(layers)} {blobs}", *(layer.line() for layer in layers)]
        return NcnnFiles("\n".join(lines) + "\n", bytes(self._weights))


def _with_splits(layers: list[_Layer]) -> list[_Layer]:
    """Returns the layers with a Split behind each blob that several of them read."""
    readers = Counter(blob for layer in layers for blob in layer.inputs)
    seen: Counter[str] = Counter()
    split: list[_Layer] = []
    for layer in layers:
        inputs: list[str] = []
        for blob in layer.inputs:
            inputs.append(blob if readers[blob] == 1 else f"{blob}_{seen[blob]}")
            seen[blob] += 1
        split.append(
            _Layer(layer.kind, layer.name, inputs, layer.outputs[:], layer.parameters)
        )
        for blob in layer.outputs:
            if readers[blob] > 1:
                copies = [f"{blob}_{index}" for index in range(readers[blob])]
                split.append(_Layer("Split", f"split_{blob}", [blob], copies, {}))
    return split
