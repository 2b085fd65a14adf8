"""What this machine is, what would be picked for it, and whether the result is right."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import psutil
import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from .backends import Backend
from .descriptor import SpanPPDescriptor, bundled_model, load
from .engine.memory import free_memory
from .engine.precision import fastest_dtype
from .engine.tile_size import auto_tile
from .engine.upscaling import upscale
from .errors import MissingPackageError
from .video import codecs_here

PACKAGES = (
    "spanpp",
    "torch",
    "spandrel",
    "numpy",
    "safetensors",
    "psutil",
    "triton",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "openvino",
    "av",
    "pyvips",
    "onnx",
    "onnxruntime",
    "ncnn",
    "ray",
    "lightning-fabric",
)
"""Distributions whose versions a bug report needs."""

SELF_TEST = Path(__file__).parent / "data" / "self_test.safetensors"
"""A piece of the bundled photo, and what the bundled weights make of it at x2."""

SELF_TEST_STEPS = 2
"""The largest difference of an 8-bit value that still is rounding."""

FRAME = (720, 1280)
"""Height and width of the frames that are counted per second."""

PROBE = (256, 256)
"""Height and width of the image that tells how long a frame would take."""


@dataclass(frozen=True)
class SelfTest:
    """What the bundled weights made of a stored image, and how fast they run."""

    passed: bool
    largest_difference: int
    """From the stored result, in steps of 8 bits."""
    frames_per_second: float
    """Of `FRAME` to x2, from main memory to main memory."""
    is_estimate: bool
    """Whether the rate was measured on smaller images, as a frame takes too long."""
    failures: Mapping[Backend, str]
    """The backends that could not be used, and why."""


@dataclass(frozen=True)
class Diagnosis:
    """The facts that a bug report needs; see `diagnose`."""

    system: str
    python: str
    processor: str
    device: str
    precision: str
    """The dtype picked for 8-bit images."""
    backend: Backend
    """What "auto" picks for large jobs."""
    tile: int
    """Edge of a tile at x2 in input pixels."""
    free_memory: int
    """Bytes on the device."""
    codecs: tuple[str, ...]
    """The video encoders that can be used; those of GPUs were opened."""
    versions: Mapping[str, str | None]
    """Of `PACKAGES`; None for what is not installed."""
    self_test: SelfTest | None


def diagnose(device: torch.device, seconds: float = 10) -> Diagnosis:
    """Looks at this machine and runs the bundled weights as `upscale` would.

    Args:
        device: Where to run.
        seconds: How long the self-test may take, about; 0 leaves it out.
    """
    dtype = fastest_dtype(device)
    model = load(bundled_model(), device=device).with_dtype(dtype).at_scale(2)
    backend = model.backends.usable(model.model, "auto", math.prod(FRAME))
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    return Diagnosis(
        system=platform.platform(),
        python=platform.python_version(),
        processor=(
            f"{platform.machine()}, {cores} cores, {torch.get_num_threads()} threads,"
            f" {memory:.0f} GiB"
        ),
        device=describe(device),
        precision=str(dtype).removeprefix("torch."),
        backend=backend,
        tile=auto_tile(model),
        free_memory=free_memory(device),
        codecs=tuple(encoders()),
        versions={name: installed(name) for name in PACKAGES},
        self_test=self_test(model.with_backend(backend), seconds) if seconds else None,
    )


def describe(device: torch.device) -> str:
    """Returns a device with its name, generation, memory and runtime where it has them."""
    if device.type != "cuda":
        return str(device)
    found = cast("Any", torch.cuda.get_device_properties(device))  # pyright: ignore
    runtime = torch.version.hip or torch.version.cuda
    kind = "ROCm" if torch.version.hip else "CUDA"
    return (
        f"{device}: {found.name}, compute capability {found.major}.{found.minor},"
        f" {found.total_memory / 2**30:.1f} GiB, {kind} {runtime}"
    )


def installed(name: str) -> str | None:
    """Returns the version of a distribution, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def encoders() -> list[str]:
    """Returns which video encoders can be used here; none without PyAV."""
    try:
        return codecs_here()
    except MissingPackageError:
        return []


def self_test(model: SpanPPDescriptor, seconds: float) -> SelfTest:
    """Compares a result with the stored one, and counts frames per second.

    Args:
        model: The bundled weights at x2, in the dtype and by the backend to test.
        seconds: How long it may take, about.
    """
    stored = load_file(SELF_TEST)
    image = stored["image"].float()[None] / 255
    result = (upscale(model, image)[0] * 255).round()
    difference = int((result - stored["result"].float()).abs().max())
    rate, is_estimate = frames_per_second(model, seconds)
    return SelfTest(
        passed=difference <= SELF_TEST_STEPS,
        largest_difference=difference,
        frames_per_second=rate,
        is_estimate=is_estimate,
        failures={**model.backends.failures},
    )


def frames_per_second(model: SpanPPDescriptor, seconds: float) -> tuple[float, bool]:
    """Returns the rate of `FRAME`, and whether it is estimated from smaller images."""
    images = {size: torch.rand(1, 3, *size) for size in (PROBE, FRAME)}
    upscale(model, images[PROBE])  # compilers and caches
    probe = _seconds(model, images[PROBE])
    pixels = {size: size[0] * size[1] for size in images}
    expected = probe * pixels[FRAME] / pixels[PROBE]
    is_estimate = expected > seconds / 2
    size = PROBE if is_estimate else FRAME
    taken: list[float] = [_seconds(model, images[size])]
    while sum(taken) + taken[-1] < seconds:
        taken.append(_seconds(model, images[size]))
    best = min(taken) * pixels[FRAME] / pixels[size]
    return 1 / best, is_estimate


def _seconds(model: SpanPPDescriptor, image: Tensor) -> float:
    began = time.perf_counter()
    upscale(model, image)
    return time.perf_counter() - began
