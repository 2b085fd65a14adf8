"""Everything that can upscale an image here, behind one signature, for `speed.py`.

What needs a package that is not installed, or does not run on the device, is left out,
and a line says so.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from spandrel.architectures.SPAN import SPAN
from torch import Tensor

import spanpp_core
from spanpp_core import Backend, SpanPPDescriptor, checkpoint
from spanpp_core.export import FORMATS, export

Run = Callable[[Tensor], object]
"""Upscales (N, 3, H, W) float32 on the device; other programs take N = 1 only."""

Named = Iterator[tuple[str, Run]]


def name_of(dtype: torch.dtype) -> str:
    """``torch.float32`` -> ``float32``."""
    return str(dtype).removeprefix("torch.")


def dtypes_of(device: torch.device) -> list[torch.dtype]:
    """Returns the dtypes worth running: CPUs compute in no float16, Apple's GPUs do."""
    kinds = {"cpu": [torch.bfloat16], "mps": [torch.float16]}
    return [torch.float32, *kinds.get(device.type, [torch.bfloat16, torch.float16])]


def span(scale: int, device: torch.device) -> Named:
    """SPAN with 48 channels, the network people replace, with random weights.

    In float32 as spandrel runs it, in the other dtypes channels-last as well.
    """
    for dtype in dtypes_of(device):
        network = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=48, upscale=scale)
        network = network.eval().to(device, dtype)
        if dtype == torch.float32:
            yield "SPAN float32", network
        else:
            network = network.to(memory_format=torch.channels_last)
            yield f"SPAN {name_of(dtype)}", _cast(network, dtype)


def _cast(network: torch.nn.Module, dtype: torch.dtype) -> Run:
    def run(images: Tensor) -> Tensor:
        cast = images.to(dtype).contiguous(memory_format=torch.channels_last)
        return network(cast).float()

    return run


def original(scale: int, device: torch.device) -> Named:
    """The public implementation of SpanPP, as resselt carries it."""
    if _missing("resselt"):
        return
    arch = importlib.import_module("resselt.archs.spanpp.arch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = arch.SpanPP(eval_base_scale=scale).eval().to(device)
    yield "SpanPP, original float32", network


def ours(model: SpanPPDescriptor, images: Tensor, *, compiled: bool) -> Named:
    """The network here in every precision, and the whole engine by each backend.

    The network is plain and compiled; the engine runs from main memory to main memory.

    Args:
        model: In float32, on its device, at its scale.
        images: What the engine reads, wherever it is, from main memory.
        compiled: Whether to compile too; it takes up to a minute for each precision.
    """
    in_memory = images.cpu()
    backends: list[Backend] = ["torch"]
    if model.device.type == "cpu" and not _missing("openvino"):
        backends.append("openvino")
    if model.device.type == "cuda":
        backends.append("jiterator")
        backends += [name for name in ("triton", "cupy") if not _missing(name)]
    if model.device.type == "cuda" and compiled:
        backends.append("compile")
    for dtype in dtypes_of(model.device):
        network = model.with_dtype(dtype).model
        yield f"ours {name_of(dtype)}", network
        if compiled:
            yield f"ours {name_of(dtype)}, compiled", torch.compile(network)
        for backend in backends:
            if backend == "cupy" and dtype == torch.float32:
                continue
            engine = model.with_dtype(dtype).with_backend(backend)
            name = f"ours {name_of(dtype)}, engine: {backend}"
            yield name, partial(_upscale, engine, in_memory)


def _upscale(model: SpanPPDescriptor, in_memory: Tensor, images: Tensor) -> Tensor:
    return spanpp_core.upscale(model, in_memory)


def exported(model: Path, scale: int, threads: int, folder: Path) -> Named:
    """The files of `spanpp export` in the CPU programs that they are for."""
    found = checkpoint.read(model)
    files = {
        kind: next(iter(export(found, "model", folder, [kind], scales))).paths[-1]
        for kind, scales in (("onnx", [scale]), ("onnx-any", []), ("ncnn", [scale]))
        if not _missing(*FORMATS[kind].packages)
    }
    if "onnx" in files:
        yield "ONNX Runtime float32", onnx_runtime(files["onnx"], threads)
        any_scale = onnx_runtime(files["onnx-any"], threads, scale)
        yield "ONNX Runtime, any-scale file", any_scale
        if not _missing("openvino"):
            yield "OpenVINO float32", openvino(files["onnx"], threads, "f32")
            yield "OpenVINO bfloat16", openvino(files["onnx"], threads, "bf16")
    if "ncnn" in files:
        yield "ncnn", ncnn(files["ncnn"], threads)


def onnx_runtime(path: Path, threads: int, scale: int | None = None) -> Run:
    """ONNX Runtime on the CPU."""
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # threads that wait by turning would slow down the program that runs next
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    more = {} if scale is None else {"scale": np.array([scale], np.float32)}
    return lambda images: session.run(None, {"input": images.numpy(), **more})


def openvino(path: Path, threads: int, precision: str) -> Run:
    """OpenVINO on the CPU, with its arithmetic in one precision."""
    ov = importlib.import_module("openvino")
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
    }
    request = ov.compile_model(str(path), "CPU", settings).create_infer_request()
    return lambda images: request.infer([images.numpy()])


def ncnn(param: Path, threads: int) -> Run:
    """Ncnn on the CPU, with its own defaults."""
    module = importlib.import_module("ncnn")
    net = module.Net()
    net.opt.num_threads = threads
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))

    def run(images: Tensor) -> object:
        extractor = net.create_extractor()
        array = images[0].numpy()  # kept: the program reads it without holding it
        blob = module.Mat(array)
        extractor.input("data", blob)
        return extractor.extract("output")

    return run


def peaks(dtype: torch.dtype, device: torch.device) -> dict[str, tuple[Run, int]]:
    """Returns what comes close to the peak of a device, and the operations in it.

    Libraries differ in what they are best at: a product of square matrices, or a wide
    3x3 convolution.
    """
    side, batch = (8192, 16) if device.type == "cuda" else (1536, 1)
    a, b = torch.rand(2, side, side, device=device).to(dtype)
    x = torch.rand(batch, 256, 64, 64, device=device).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.rand(256, 256, 3, 3, device=device).to(dtype)
    weight = weight.contiguous(memory_format=torch.channels_last)
    return {
        f"product of matrices, {name_of(dtype)}": (lambda images: a @ b, 2 * side**3),
        f"wide convolution, {name_of(dtype)}": (
            lambda images: F.conv2d(x, weight, padding=1),
            2 * batch * 64 * 64 * weight.numel(),
        ),
    }


def warmed_up(upscalers: Named, images: Tensor) -> dict[str, Run]:
    """Runs each a few times, for compilers and caches, and keeps those that can."""
    runs: dict[str, Run] = {}
    for name, run in upscalers:
        started = time.perf_counter()
        try:
            run(images)
        except Exception as error:  # other programs may raise anything
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            print(f"{name} does not run here: {reason}")
            continue
        first = time.perf_counter() - started
        if "compiled" in name:
            print(f"{name}: {first:.0f} s for the first image")
        run(images)
        runs[name] = run
    return runs


def _missing(*packages: str) -> bool:
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    for name in absent:
        print(f"{name} is not installed, left out")
    return bool(absent)
