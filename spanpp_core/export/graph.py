"""ONNX graphs: a small builder, and the part of the network that all files share.

The graph is written node by node instead of traced: it has the operators that runtimes
know best, the same ones at every opset, whatever PyTorch is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checkpoint import Checkpoint
from ..errors import ExportError
from ..optional import require

OLDEST_OPSET = 17
"""The default: what runtimes since the middle of 2022 read."""

_AXES_ARE_INPUTS = 18
"""The opset since which the axes of a product are an input and no attribute."""


class Graph:
    """Nodes and initializers; values are known by their names.

    Weights are given as float32 and stored in ``dtype``, in which the convolutions run.
    """

    def __init__(
        self, dtype: torch.dtype = torch.float32, *, opset: int, half_ends: bool = False
    ) -> None:
        """Begins a graph.

        Args:
            dtype: Of weights and convolutions.
            opset: The version of the operators.
            half_ends: Whether ``input`` and ``output`` are float16, as the weights are.

        Raises:
            ExportError: The installed onnx does not know the opset.
        """
        onnx = self._onnx = require("Exporting", "onnx", "onnx")
        newest: int = onnx.defs.onnx_opset_version()
        if not OLDEST_OPSET <= opset <= newest:
            raise ExportError(
                f"opset {opset} is not possible: give one from {OLDEST_OPSET} to"
                f" {newest}, what the installed onnx {onnx.__version__} knows"
            )
        self.opset = opset
        self.dtype = dtype
        self.half_ends = half_ends and dtype == torch.float16
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name."""
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(
            self._onnx.helper.make_node(
                operator, list(inputs), [name], name=name, **attributes
            )
        )
        return name

    def constant(self, name: str, values: object, dtype: type[np.generic]) -> str:
        """Adds an initializer of a given type and returns its name."""
        return self._initializer(name, np.asarray(values, dtype=dtype))

    def integers(self, *values: int) -> str:
        """Adds a list of whole numbers, once, and returns its name."""
        return self.constant(f"int_{'_'.join(map(str, values))}", values, np.int64)

    def weight(self, name: str, tensor: Tensor) -> str:
        """Adds a weight of the convolutions, in their dtype."""
        return self._initializer(name, tensor.to(self.dtype).numpy())

    def to_float32(self, value: str) -> str:
        """Casts from the dtype of the convolutions, where that is another."""
        if self.dtype == torch.float32 or self.half_ends:
            return value
        return self.node("Cast", value, to=self._onnx.TensorProto.FLOAT)

    def to_dtype(self, value: str) -> str:
        """Casts to the dtype of the convolutions, where that is another."""
        if self.dtype == torch.float32 or self.half_ends:
            return value
        return self.node("Cast", value, to=self._onnx.TensorProto.FLOAT16)

    def product_over_last(self, value: str) -> str:
        """Multiplies along the last axis, which goes."""
        if self.opset < _AXES_ARE_INPUTS:
            return self.node("ReduceProd", value, axes=[-1], keepdims=0)
        return self.node("ReduceProd", value, self.integers(-1), keepdims=0)

    def cast(self, value: str, dtype: type[np.generic]) -> str:
        """Casts to a NumPy type."""
        to = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.node("Cast", value, to=to)

    def model(
        self,
        output: str,
        *,
        input_shape: Sequence[int | str],
        output_shape: Sequence[int | str],
        scale_input: str | None = None,
        metadata: dict[str, str],
    ) -> Any:
        """Returns the model of everything added, with the ends ``input`` and ``output``.

        Args:
            output: The value that becomes ``output``: of the node added last.
            input_shape: Numbers, or names of dimensions that vary.
            output_shape: Likewise.
            scale_input: The float32 input (1,) that callers have to set, if there is one.
            metadata: What the file says about itself.
        """
        helper, types = self._onnx.helper, self._onnx.TensorProto
        last = self._nodes[-1].output
        last[:] = ["output" if name == output else name for name in last]
        ends = types.FLOAT16 if self.half_ends else types.FLOAT
        inputs = [helper.make_tensor_value_info("input", ends, input_shape)]
        if scale_input is not None:
            inputs.append(helper.make_tensor_value_info(scale_input, types.FLOAT, [1]))
        outputs = [helper.make_tensor_value_info("output", ends, output_shape)]
        graph = helper.make_graph(
            self._nodes, "SpanPP", inputs, outputs, list(self._initializers.values())
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="spanpp",
            producer_version=metadata["version"],
        )
        helper.set_model_props(model, metadata)
        return model

    def _initializer(self, name: str, values: NDArray[Any]) -> str:
        if name not in self._initializers:
            array = np.ascontiguousarray(values).reshape(values.shape)
            self._initializers[name] = self._onnx.numpy_helper.from_array(array, name)
        return name


def features(
    graph: Graph,
    checkpoint: Checkpoint,
    x: str,
    named: Callable[[str], str] = str,
) -> str:
    """Adds the body: everything before the upsampler. See `network.model.Body`.

    Args:
        graph: Where to add.
        checkpoint: The model.
        x: The image, in the dtype of the convolutions.
        named: What a convolution of `Body` is called in the file.
    """
    tensors = checkpoint.state_dict

    def conv(name: str, value: str) -> str:
        weight = tensors[f"{name}.weight"]
        size = weight.shape[-1]
        return graph.node(
            "Conv",
            value,
            graph.weight(f"{named(name)}.weight", weight),
            graph.weight(f"{named(name)}.bias", tensors[f"{name}.bias"]),
            kernel_shape=[size, size],
            pads=[size // 2] * 4,
        )

    def silu(value: str) -> str:
        return graph.node("Mul", value, graph.node("Sigmoid", value))

    def block(name: str, value: str) -> tuple[str, str]:
        o1 = silu(conv(f"{name}.c1_r.conv_3x3_rep", value))
        o2 = silu(conv(f"{name}.c2_r.conv_3x3_rep", o1))
        o3 = conv(f"{name}.c3_r.conv_3x3_rep", o2)
        half = graph.weight("half", torch.tensor(0.5))
        attention = graph.node("Sub", graph.node("Sigmoid", o3), half)
        return graph.node("Mul", graph.node("Add", o3, value), attention), o1

    f0 = conv("conv0.conv_3x3_rep", x)
    b1, o1 = block("block_1", f0)
    b = b1
    for index in range(2, 7):
        b, o1 = block(f"block_{index}", b)
    b = conv("conv_2.conv_3x3_rep", b)
    return conv("conv_cat", graph.node("Concat", f0, b, b1, o1, axis=1))


def span_name(name: str) -> str:
    """Returns what SPAN calls a convolution of ours, once it is fused.

    Example:
        >>> span_name("conv0.conv_3x3_rep"), span_name("block_1.c1_r.conv_3x3_rep")
        ('conv_1.eval_conv', 'block_1.c1_r.eval_conv')
    """
    name = name.replace("conv_3x3_rep", "eval_conv")
    return name.replace("conv0.", "conv_1.")


def described(checkpoint: Checkpoint, name: str, scale: str) -> dict[str, str]:
    """What a file says about itself, in its metadata.

    Args:
        checkpoint: What the file is made from.
        name: The model's name.
        scale: The scale or scales that the file does.
    """
    try:
        release = version("spanpp")
    except PackageNotFoundError:  # inside a host's pack, which is not installed
        release = "unknown"
    return {
        "architecture": "SpanPP",
        "name": name,
        "scale": scale,
        "trained_scales": " ".join(map(str, checkpoint.hyper.scales)),
        "version": release,
    }
