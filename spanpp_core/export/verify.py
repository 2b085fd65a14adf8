"""Exported files against the core: each is run by the program it is meant for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..checkpoint import Checkpoint
from ..network.model import SpanPP
from ..network.scale import MAX_SCALE, MIN_SCALE
from ..optional import require
from . import torchscript

Images = NDArray[np.float32]
Run = Callable[[Images], Images]
"""(N, C, H, W) -> (N, 3, round(H*s), round(W*s))"""

SIZES = ((17, 23), (31, 13))
"""Heights and widths: multiples of nothing; at x2.5 halves are rounded both ways."""

SCALES = (*range(MIN_SCALE, MAX_SCALE + 1), 4 / 3, 1.5, 2.5, 2.73, 3.7)
"""What a file of every scale is run at."""


def loaded(checkpoint: Checkpoint) -> SpanPP:
    """Returns the core's network, in float32 on the CPU."""
    network = SpanPP.blank(checkpoint.hyper)
    network.load_state_dict(checkpoint.state_dict)
    return network.requires_grad_(False).train(False)


def network_run(network: SpanPP, scale: float) -> Run:
    """Returns how to run the core's network at one scale."""
    view = network.at_scale(scale)
    return lambda images: view(torch.from_numpy(images)).numpy()


def largest_difference(
    run: Run,
    network: SpanPP,
    scale: float,
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    batch: int = 1,
    clamped: bool = False,
) -> float:
    """Returns how far a file is from the core, at most, over random images.

    In units of the largest value of the output, if that is more than 1. Infinite if the
    file makes another size, or a value that is not finite.

    Args:
        run: Runs the file.
        network: The core's network, in float32.
        scale: The scale the file does.
        sizes: (height, width) of an image each.
        batch: Images at once.
        clamped: Whether the file clamps its output to [0, 1].
    """
    core = network_run(network, scale)
    largest = 0.0
    for seed, (height, width) in enumerate(sizes):
        random = np.random.default_rng(seed)
        shape = (batch, network.hyper.in_channels, height, width)
        images = random.random(shape, dtype=np.float32)
        expected, got = core(images), run(images)
        if clamped:
            expected = expected.clip(0, 1)
        if got.shape != expected.shape or not np.isfinite(got).all():
            return float("inf")
        peak = max(1.0, float(np.abs(expected).max()))
        largest = max(largest, float(np.abs(got - expected).max()) / peak)
    return largest


def check_onnx(content: bytes) -> None:
    """Has onnx check a file in full and infer its shapes strictly.

    Raises:
        Exception: Whatever onnx has to say against the file.
    """
    onnx = require("Exporting", "onnx", "onnx")
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def onnx_session(content: bytes) -> Any:
    """Opens a file with ONNX Runtime, on the CPU."""
    ort = require("Exporting", "onnx", "onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # the images are tiny
    options.log_severity_level = 3  # errors
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def onnx_run(session: Any, scale: float | None = None) -> Run:
    """Returns how to run an ONNX file, whose ends may be float16.

    Args:
        session: What `onnx_session` returned.
        scale: What its ``scale`` input is set to; None if it has none.
    """
    chosen = {} if scale is None else {"scale": np.array([scale], dtype=np.float32)}
    half = session.get_inputs()[0].type == "tensor(float16)"
    dtype = np.float16 if half else np.float32

    def run(images: Images) -> Images:
        given = {"input": images.astype(dtype), **chosen}
        return session.run(["output"], given)[0].astype(np.float32)

    return run


def ncnn_run(param: bytes, binary: bytes) -> Run:
    """Returns how to run ncnn files: on the CPU, in float32, one image at a time.

    Raises:
        RuntimeError: ncnn cannot load them.
    """
    ncnn = require("Exporting", "ncnn", "ncnn")
    net = ncnn.Net()
    net.opt.num_threads = 1  # images are small: threads would wait for each other
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = False
    net.opt.use_fp16_storage = False
    net.opt.use_fp16_arithmetic = False
    if net.load_param_mem(param.decode()):
        raise RuntimeError("ncnn cannot load the file")
    net.load_model_mem(binary)

    def run(images: Images, weights: bytes = binary) -> Images:
        outputs: list[Images] = []
        for image in images:
            extractor = net.create_extractor()
            blob = ncnn.Mat(
                image
            )  # a view: `image` has to outlive it, and so `weights`
            extractor.input("data", blob)
            status, output = extractor.extract("output")
            if status:
                raise RuntimeError(f"ncnn stopped with status {status}")
            outputs.append(np.array(output))
        return np.stack(outputs)

    return run


def torchscript_run(content: bytes) -> Run:
    """Returns how to run a TorchScript program, on the CPU."""
    program = torchscript.read(content)
    return lambda images: program(torch.from_numpy(images)).numpy()
