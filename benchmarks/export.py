"""Exported files in the programs they are for against the core, in one run.

The rounds are interleaved: each runs every program once, so that whatever else the
machine does hits all of them. Printed are the median time, and the median over the
rounds of the time relative to the core's in the same round.

Run: python benchmarks/export.py [--scale 2] [--size 256x256] [--rounds 15]
with the extras onnx and ncnn, and openvino, installed; what is missing is left out.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import spanpp_core
from spanpp_core import checkpoint
from spanpp_core.export import FORMATS, export

Run = Callable[[np.ndarray], object]


def core(model: Path, scale: int, dtype: torch.dtype) -> Run:
    """The core, as a host calls it."""
    view = spanpp_core.load(model, dtype=dtype).at_scale(scale)

    def run(images: np.ndarray) -> object:
        with torch.inference_mode():
            return view.model(torch.from_numpy(images))

    return run


def onnx_runtime(path: Path, threads: int, scale: int | None = None) -> Run:
    """ONNX Runtime on the CPU."""
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # threads that wait by turning would slow down the program that runs next
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    more = {} if scale is None else {"scale": np.array([scale])}
    return lambda images: session.run(None, {"input": images, **more})


def openvino(path: Path, threads: int, precision: str) -> Run:
    """OpenVINO on the CPU, with its arithmetic in one precision."""
    ov = importlib.import_module("openvino")
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
    }
    request = ov.compile_model(str(path), "CPU", settings).create_infer_request()
    return lambda images: request.infer([images])


def ncnn(param: Path, threads: int) -> Run:
    """Ncnn on the CPU, with its own defaults."""
    module = importlib.import_module("ncnn")
    net = module.Net()
    net.opt.num_threads = threads
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))

    def run(images: np.ndarray) -> object:
        extractor = net.create_extractor()
        blob = module.Mat(images[0])
        extractor.input("data", blob)
        return extractor.extract("output")

    return run


def programs(
    model: Path, scale: int, threads: int, folder: Path
) -> Iterator[tuple[str, Run]]:
    """Yields what can be run here, the core first."""
    yield "core float32", core(model, scale, torch.float32)
    yield "core bfloat16", core(model, scale, torch.bfloat16)

    def missing(*packages: str) -> bool:
        absent = [name for name in packages if importlib.util.find_spec(name) is None]
        for name in absent:
            print(f"{name} is not installed, left out")
        return bool(absent)

    found = checkpoint.read(model)
    files = {
        kind: next(iter(export(found, "model", folder, [kind], scales))).paths[-1]
        for kind, scales in (("onnx", [scale]), ("onnx-multi", []), ("ncnn", [scale]))
        if not missing(*FORMATS[kind].packages)
    }
    if "onnx" in files:
        yield "ONNX Runtime", onnx_runtime(files["onnx"], threads)
        multi = onnx_runtime(files["onnx-multi"], threads, scale)
        yield "ONNX Runtime, multi-scale file", multi
        if not missing("openvino"):
            yield "OpenVINO float32", openvino(files["onnx"], threads, "f32")
            yield "OpenVINO bfloat16", openvino(files["onnx"], threads, "bf16")
    if "ncnn" in files:
        yield "ncnn", ncnn(files["ncnn"], threads)


def main() -> None:
    """Prints one line a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=spanpp_core.bundled_model())
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--size", default="256x256", help="HEIGHTxWIDTH of the input")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    height, width = map(int, given.size.split("x"))
    images = np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        runs = dict(programs(given.model, given.scale, given.threads, Path(folder)))
        times: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            run(images)
        for _ in range(given.rounds):
            for name, run in runs.items():
                started = time.perf_counter()
                run(images)
                times[name].append(time.perf_counter() - started)
    print(f"{height}x{width} x{given.scale}, {given.threads} threads,", end=" ")
    print(f"{given.rounds} rounds; ms, relative to the core in float32")
    reference = times["core float32"]
    for name, taken in times.items():
        ratio = median(mine / core for mine, core in zip(taken, reference))
        print(f"{name:32}{1000 * median(taken):8.1f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
