"""ONNX files of one scale against the core."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from spanpp_core.export import ExportError
from spanpp_core.export import onnx as one_scale
from spanpp_core.export.frozen import one_kernel, repeats_last
from spanpp_core.export.verify import (
    largest_difference,
    loaded,
    onnx_run,
    onnx_session,
)
from spanpp_core.network.scale import output_size

onnx = pytest.importorskip("onnx", reason="pip install 'spanpp[onnx]' to run this")
pytest.importorskip("onnxruntime", reason="pip install 'spanpp[onnx]' to run this")

SIZES = [(h, w) for h, w in zip(range(1, 12), (25, 3, 1, 14, 9, 2, 45, 6, 5, 8, 7))]


def build(small_model, scale, *, dtype=torch.float32, opset=17, size=None):
    return one_scale.build(
        small_model, scale, name="small", dtype=dtype, opset=opset, size=size
    )


@pytest.mark.parametrize("scale", [1, 2, 3, 8, 1.5, 2.5, 7 / 3, 7 / 6])
def test_equals_the_core_at_any_size(any_model, scale):
    run = onnx_run(onnx_session(build(any_model, scale).SerializeToString()))
    difference = largest_difference(run, loaded(any_model), scale, sizes=SIZES, batch=3)
    assert difference < 1e-5, "sizes differ if this is inf: see onnx._output_size"


@pytest.mark.parametrize("size", [(17, 23), (15, 5), (3, 1)])
@pytest.mark.parametrize("scale", [2, 2.5, 2.2])
def test_a_fixed_size_equals_the_core(small_model, scale, size):
    proto = build(small_model, scale, size=size)
    run = onnx_run(onnx_session(proto.SerializeToString()))
    assert largest_difference(run, loaded(small_model), scale, sizes=[size]) < 1e-5
    shape = [d.dim_value for d in proto.graph.output[0].type.tensor_type.shape.dim]
    assert shape == [1, 3, *output_size(*size, scale)]


@pytest.mark.parametrize("scale", [2, 2.5])
def test_half_precision_is_close_and_takes_float32(any_model, scale):
    proto = build(any_model, scale, dtype=torch.float16)
    run = onnx_run(onnx_session(proto.SerializeToString()))
    difference = largest_difference(run, loaded(any_model), scale, batch=3)
    assert 0 < difference < 2e-3
    kinds = {i.data_type for i in proto.graph.initializer if "conv" in i.name}
    assert kinds == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("opset", [17, 18, 21])
@pytest.mark.parametrize("scale", [1, 3, 2.5])
def test_full_check_at_each_opset(small_model, scale, opset):
    proto = build(small_model, scale, opset=opset)
    assert [entry.version for entry in proto.opset_import] == [opset]
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, strict_mode=True)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_shape_inference_finds_the_scale(small_model, scale):
    """As chaiNNer does it: fix the input's size, infer, divide."""
    proto = build(small_model, scale)
    for dim, value in zip(
        proto.graph.input[0].type.tensor_type.shape.dim, (1, 3, 16, 16)
    ):
        dim.dim_value = value
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    dims = inferred.graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [1, 3, 16 * scale, 16 * scale]


def test_the_plain_operators_only(small_model):
    """What tools that read SPAN or ESRGAN files read."""
    used = {node.op_type for node in build(small_model, 4).graph.node}
    assert used <= {
        *("Conv", "Sigmoid", "Mul", "Add", "Sub"),
        *("Concat", "DepthToSpace"),
    }


def test_metadata_says_what_it_is(small_model):
    proto = build(small_model, 2.5)
    said = {entry.key: entry.value for entry in proto.metadata_props}
    assert said["scale"] == "2.5"
    assert said["trained_scales"] == "1 2 3 4"
    assert said["name"] == "small"
    assert said["version"]


def test_the_kernel_of_a_whole_scale_is_the_cores(any_model):
    kernels = loaded(any_model).upsampler.exact_kernels(Fraction(3))
    assert torch.equal(one_kernel(any_model, Fraction(3)), kernels.weight)


def test_every_phase_sees_its_own_cells(any_model):
    """At 5/2 every output pixel's taps lie in a K x K square, at one of four places."""
    k = any_model.hyper.kernel_size
    kernel = one_kernel(any_model, Fraction(5, 2))
    assert kernel.shape == (75, 8, k + 1, k + 1)
    seen = (kernel != 0).flatten(1, 1).any(1)  # (75, K+1, K+1)
    assert seen.sum((1, 2)).tolist() == [k * k] * 75
    rows = seen.any(2).int().argmax(1).view(3, 5, 5)
    assert rows[0, :, 0].tolist() == [0, 0, 1, 1, 1]


def test_rounding_up_a_half_looks_past_the_image():
    assert repeats_last((3, 5), 2.5, Fraction(5, 2)) == (True, False)  # 7.5, 12.5


def test_a_fine_fraction_has_no_grid_of_its_own(small_model):
    with pytest.raises(ExportError, match=r"x2\.73 .*choose x2\.75"):
        build(small_model, 2.73)


def test_an_opset_that_is_not_known(small_model):
    with pytest.raises(ExportError, match="from 17 to"):
        build(small_model, 2, opset=16)


def test_the_model_is_left_as_it_is(small_model):
    before = {name: tensor.clone() for name, tensor in small_model.state_dict.items()}
    build(small_model, 2.5, dtype=torch.float16)
    assert all(torch.equal(before[k], t) for k, t in small_model.state_dict.items())


def test_difference_is_infinite_for_another_size(small_model):
    wrong = np.zeros((1, 3, 4, 4), np.float32)
    assert largest_difference(lambda _: wrong, loaded(small_model), 2) == float("inf")
