"""Files "as SPAN": the graph that PyTorch exports of a SPAN, operator by operator."""

from __future__ import annotations

import inspect
import io
import warnings

import numpy as np
import pytest
import torch
from spandrel.architectures.SPAN import SPAN

from spanpp_core.export import onnx as one_scale
from spanpp_core.export.verify import (
    largest_difference,
    loaded,
    onnx_run,
    onnx_session,
)

onnx = pytest.importorskip("onnx", reason="pip install 'spanpp[onnx]' to run this")
pytest.importorskip("onnxruntime", reason="pip install 'spanpp[onnx]' to run this")


def build(model, scale, dtype=torch.float32):
    return one_scale.build(
        model, scale, name="m", dtype=dtype, opset=17, size=None, as_span=True
    )


def exported_span(channels: int, scale: int):
    """A SPAN, as PyTorch exports it."""
    span = SPAN(
        num_in_ch=3,
        num_out_ch=3,
        feature_channels=channels,
        upscale=scale,
        norm=False,
    ).eval()
    content = io.BytesIO()
    options = inspect.signature(torch.onnx.export).parameters
    traced = {"dynamo": False} if "dynamo" in options else {}  # not before 2.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            span,
            (torch.rand(1, 3, 16, 16),),
            content,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {2: "height", 3: "width"}},
            opset_version=17,
            **traced,
        )
    return onnx.load_from_string(content.getvalue())


def wiring(proto) -> list[tuple[str, list[int], list[tuple[int, ...]]]]:
    """Each operator, which operators it reads, and the shapes of its weights."""
    weights = {each.name: tuple(each.dims) for each in proto.graph.initializer}
    nodes = [node for node in proto.graph.node if node.op_type != "Constant"]
    made = {node.output[0]: index for index, node in enumerate(nodes)}
    return [
        (
            node.op_type,
            [
                made.get(name, -1)
                for name in node.input
                if name in made or name == "input"
            ],
            [weights[name] for name in node.input if weights.get(name)],
        )
        for node in nodes
    ]


@pytest.mark.parametrize("scale", [2, 4])
def test_the_graph_is_that_of_a_span(small_model, scale):
    ours, theirs = build(small_model, scale), exported_span(8, scale)
    assert wiring(ours) == wiring(theirs)
    names = {each.name for each in theirs.graph.initializer if "_conv" in each.name}
    assert names <= {each.name for each in ours.graph.initializer}


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_equals_the_core(any_model, scale):
    run = onnx_run(onnx_session(build(any_model, scale).SerializeToString()))
    assert largest_difference(run, loaded(any_model), scale, batch=2) < 1e-5


def test_half_precision_has_float16_ends(small_model):
    proto = build(small_model, 2, torch.float16)
    session = onnx_session(proto.SerializeToString())
    ends = [*session.get_inputs(), *session.get_outputs()]
    assert {each.type for each in ends} == {"tensor(float16)"}
    assert "Cast" not in {node.op_type for node in proto.graph.node}
    assert largest_difference(onnx_run(session), loaded(small_model), 2) < 2e-3
    weights = [onnx.numpy_helper.to_array(each) for each in proto.graph.initializer]
    assert {each.dtype for each in weights} == {np.dtype(np.float16)}
