"""Frames per second from main memory to main memory, and how far that is from the limit."""

from __future__ import annotations

from importlib.util import find_spec
from statistics import median

import torch
import upscalers as field
from timing import flop_per_pixel, interleaved
from torch import Tensor
from upscalers import Run, name_of

import spanpp_core
from spanpp_core import Backend, SpanPPDescriptor
from spanpp_core.backends import fastest_backend
from spanpp_core.backends.convolution import shape_times
from spanpp_core.network.hyperparameters import Hyperparameters

WHOLE = "memory to memory"
"""What the output calls frames that begin and end in main memory."""


def least_traffic(hyper: Hyperparameters, scale: int, dtype: torch.dtype) -> int:
    """Returns the bytes an input pixel moves if every convolution runs in one pass.

    Each of the 19 before the upsampler, with all that is done to its result, reads a
    map and writes one.
    """
    maps = 2 * 19 * hyper.channels
    ends = hyper.in_channels + 3 * scale**2
    return (maps + ends) * dtype.itemsize


def copying(device: torch.device) -> tuple[Run, int]:
    """Returns a copy within the memory of a device, and the bytes that it moves."""
    size = 2**28 if device.type == "cuda" else 2**26
    a, b = torch.ones(2, size, device=device)
    return (lambda images: a.copy_(b)), 2 * a.nbytes


def end_to_end(
    model: SpanPPDescriptor, size: tuple[int, int], frames: int, rounds: int
) -> None:
    """Prints frames per second of the engine, and of SPAN within the device.

    The engine reads and writes pinned memory where there is a GPU; memory that is not
    pinned and has the channels last, as ComfyUI's nodes pass images; and, on a GPU, one
    frame that stays there.

    Args:
        model: In float32, on its device, at its scale.
        size: (height, width) of a frame in pixels.
        frames: How many a run is given.
        rounds: How often each contestant runs.
    """
    device, scale = model.device, int(model.scale)
    dtype = spanpp_core.fastest_dtype(device)
    network = model.with_dtype(dtype)
    found = _backends(network)
    one = torch.rand(1, 3, *size).to(device)
    ours = _engines(network, found, size, frames)
    spans, of = dict(field.span(scale, device)), field.peaks(dtype, device)
    copies, moved = copying(device)
    runs: dict[str, Run] = {
        "SPAN": spans[f"SPAN {name_of(dtype)}"],
        **ours,
        "copy": copies,
        **{name: run for name, (run, _) in of.items()},
    }
    times = interleaved(field.warmed_up(iter(runs.items()), one), one, rounds)
    span = median(times["SPAN"])
    height, width = size
    print(
        f"\n{width}x{height} to x{scale}, {name_of(dtype)} on {device}, {frames} frames"
        f" per run\nSPAN, within the device: {1 / span:.1f} frames per second"
    )
    best: dict[str, float] = {}
    for name in ours:
        count = frames if WHOLE in name else 1
        each = [taken / count for taken in times[name]]
        best[name] = median(each)
        ratio = median(s / t for s, t in zip(times["SPAN"], each))
        print(
            f"{name}: {1 / best[name]:.1f} frames per second,"
            f" {1000 * best[name]:.2f} ms each; {ratio:.2f} times as fast as SPAN"
        )
    peak = max(work / min(times[name]) for name, (_, work) in of.items())
    _print_limits(network, size, peak, moved / min(times["copy"]), min(best.values()))
    if "cupy" in found and "cupy" not in network.backends.failures:
        times_of = shape_times(model.model.hyper.channels, dtype, device)
        by_time = sorted((taken, tuple(shape)) for shape, taken in times_of.items())
        shapes = ", ".join(f"{taken:.3f} ms as {shape}" for taken, shape in by_time)
        print(f"a convolution of cupy, the first one is chosen: {shapes}")
    if network.backends.failures:
        print(f"not run: {network.backends.failures}")


def _backends(network: SpanPPDescriptor) -> list[Backend]:
    """Returns the backends to compare on a device: the one picked, then all others."""
    picked = fastest_backend(network.model, "auto")
    known: list[Backend] = ["torch"]
    if network.device.type == "cuda":
        known = ["torch", "jiterator", "triton", "cupy"]
    of_pytorch = ("torch", "jiterator")
    others = [each for each in known if each in of_pytorch or find_spec(each)]
    return [picked, *(each for each in others if each != picked)]


def _engines(
    network: SpanPPDescriptor, found: list[Backend], size: tuple[int, int], frames: int
) -> dict[str, Run]:
    """Returns the runs of the engine, by what they are called in the output."""
    device, scale = network.device, int(network.scale)
    height, width = size
    images = torch.rand(frames, 3, height, width)
    out = torch.empty(frames, 3, height * scale, width * scale)
    in_comfyui = (
        torch.rand(frames, height, width, 3).movedim(-1, 1),
        torch.empty(frames, height * scale, width * scale, 3).movedim(-1, 1),
    )
    if device.type == "cuda":
        images, out = images.pin_memory(), out.pin_memory()

    def engine(name: Backend, source: Tensor, target: Tensor) -> Run:
        runner = network.with_backend(name)
        return lambda _: spanpp_core.upscale(runner, source, out=target)

    picked, *others = found
    runs = {
        f"ours, {picked}, {WHOLE}": engine(picked, images, out),
        f"ours, {picked}, {WHOLE}, as in ComfyUI": engine(picked, *in_comfyui),
    }
    for name in others:
        runs[f"ours, {name}, {WHOLE}"] = engine(name, images, out)
    if device.type == "cuda":
        one, made = (each[:1].to(device) for each in (images, out))
        for name in found:
            runs[f"ours, {name}, within the device"] = engine(name, one, made)
    return runs


def _print_limits(
    network: SpanPPDescriptor,
    size: tuple[int, int],
    peak: float,
    bandwidth: float,
    fastest_frame: float,
) -> None:
    """Prints how long a frame takes at least.

    Args:
        network: In the dtype that it runs in, at its scale.
        size: (height, width) of a frame in pixels.
        peak: FLOP a second of a matrix product.
        bandwidth: Bytes a second of a copy within the device.
        fastest_frame: Seconds of the fastest run.
    """
    pixels, scale = size[0] * size[1], int(network.scale)
    arithmetic = pixels * sum(flop_per_pixel(network.model)) / peak
    traffic = pixels * least_traffic(network.model.hyper, scale, network.dtype)
    limit = max(arithmetic, traffic / bandwidth)
    print(
        f"limits of a frame: arithmetic {1000 * arithmetic:.2f} ms at"
        f" {peak / 1e12:.1f} TFLOP/s, traffic {1000 * traffic / bandwidth:.2f} ms at"
        f" {bandwidth / 1e9:.0f} GB/s; the fastest takes"
        f" {fastest_frame / limit:.1f} times the larger one"
    )
