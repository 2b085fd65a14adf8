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
from spanpp_core.backends import fastest
from spanpp_core.backends.convolution import shape_times
from spanpp_core.network.hyperparameters import Hyperparameters


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
    cuda = device.type == "cuda"
    dtype = spanpp_core.fastest_dtype(device)
    network = model.with_dtype(dtype)
    backend = fastest(network.model, "auto")
    height, width = size
    images = torch.rand(frames, 3, height, width)
    out = torch.empty(frames, 3, height * scale, width * scale)
    in_comfyui = (
        torch.rand(frames, height, width, 3).movedim(-1, 1),
        torch.empty(frames, height * scale, width * scale, 3).movedim(-1, 1),
    )
    if cuda:
        images, out = images.pin_memory(), out.pin_memory()
    one = images[:1].to(device)

    def engine(name: Backend, source: Tensor, target: Tensor) -> Run:
        runner = network.with_backend(name)
        return lambda _: spanpp_core.upscale(runner, source, out=target)

    spans = dict(field.span(scale, device))
    (copies, moved), of = copying(device), field.peaks(dtype, device)
    whole = "memory to memory"
    ours: dict[str, Run] = {
        f"ours, {backend}, {whole}": engine(backend, images, out),
        f"ours, {backend}, {whole}, as in ComfyUI": engine(backend, *in_comfyui),
    }
    found: list[Backend] = (
        ["torch", "jiterator", "triton", "cupy"] if cuda else ["torch"]
    )
    others = [
        name
        for name in found
        if name != backend and (name in ("torch", "jiterator") or find_spec(name))
    ]
    for name in others:
        ours[f"ours, {name}, {whole}"] = engine(name, images, out)
    if cuda:
        made = out[:1].to(device)
        for name in (backend, *others):
            ours[f"ours, {name}, within the device"] = engine(name, one, made)
    runs: dict[str, Run] = {
        "SPAN": spans[f"SPAN {name_of(dtype)}"],
        **ours,
        "copy": copies,
        **{name: run for name, (run, _) in of.items()},
    }
    times = interleaved(field.warmed_up(iter(runs.items()), one), one, rounds)
    span = median(times["SPAN"])
    print(
        f"\n{width}x{height} to x{scale}, {name_of(dtype)} on {device}, {frames} frames"
        f" per run\nSPAN, within the device: {1 / span:.1f} frames per second"
    )
    best: dict[str, float] = {}
    for name in ours:
        count = frames if whole in name else 1
        each = [taken / count for taken in times[name]]
        best[name] = median(each)
        ratio = median(s / t for s, t in zip(times["SPAN"], each))
        print(
            f"{name}: {1 / best[name]:.1f} frames per second,"
            f" {1000 * best[name]:.2f} ms each; {ratio:.2f} times as fast as SPAN"
        )
    body, upsampler = flop_per_pixel(model.model)
    peak = max(work / min(times[name]) for name, (_, work) in of.items())
    arithmetic = height * width * (body + upsampler) / peak
    bandwidth = moved / min(times["copy"])
    traffic = height * width * least_traffic(model.model.hyper, scale, dtype)
    limit = max(arithmetic, traffic / bandwidth)
    print(
        f"limits of a frame: arithmetic {1000 * arithmetic:.2f} ms at"
        f" {peak / 1e12:.1f} TFLOP/s, traffic {1000 * traffic / bandwidth:.2f} ms at"
        f" {bandwidth / 1e9:.0f} GB/s; the fastest takes"
        f" {min(best.values()) / limit:.1f} times the larger one"
    )
    if "cupy" in (backend, *others) and "cupy" not in network.backends.failures:
        times_of = shape_times(model.model.hyper.channels, dtype, device)
        by_time = sorted((taken, tuple(shape)) for shape, taken in times_of.items())
        shapes = ", ".join(f"{taken:.3f} ms as {shape}" for taken, shape in by_time)
        print(f"a convolution of cupy, the first one is chosen: {shapes}")
    if network.backends.failures:
        print(f"not run: {network.backends.failures}")
