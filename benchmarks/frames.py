"""Frames a second from main memory to main memory, and how far that is from the limit."""

from __future__ import annotations

from statistics import median

import torch
import upscalers as field
from timing import flop_per_pixel, interleaved
from torch import Tensor
from upscalers import Run, name_of

import spanpp_core
from spanpp_core import SpanPPDescriptor
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
    """Prints the frames a second of the engine, copies included, and SPAN's without.

    Args:
        model: In float32, on its device, at its scale.
        size: (height, width) of a frame in pixels.
        frames: How many a run is given.
        rounds: How often each contestant runs.
    """
    device, scale = model.device, int(model.scale)
    cuda = device.type == "cuda"
    dtype = spanpp_core.fastest_dtype(device)
    fastest = model.with_dtype(dtype).with_backend("compile" if cuda else "auto")
    height, width = size
    images = torch.rand(frames, 3, height, width)
    out = torch.empty(frames, 3, height * scale, width * scale)
    if cuda:
        images, out = images.pin_memory(), out.pin_memory()
    one = images[:1].to(device)

    def ours(_: Tensor) -> Tensor:
        return spanpp_core.upscale(fastest, images, out=out)

    spans = dict(field.span(scale, device))
    (copies, moved), of = copying(device), field.peaks(dtype, device)
    runs: dict[str, Run] = {
        "SPAN": spans[f"SPAN {name_of(dtype)}"],
        "ours": ours,
        "copy": copies,
        **{name: run for name, (run, _) in of.items()},
    }
    times = interleaved(field.warmed_up(iter(runs.items()), one), one, rounds)
    span, mine = median(times["SPAN"]), median(times["ours"]) / frames
    ratio = median(s * frames / t for s, t in zip(times["SPAN"], times["ours"]))
    body, upsampler = flop_per_pixel(model.model)
    peak = max(work / min(times[name]) for name, (_, work) in of.items())
    arithmetic = height * width * (body + upsampler) / peak
    bandwidth = moved / min(times["copy"])
    traffic = height * width * least_traffic(model.model.hyper, scale, dtype)
    print(
        f"\n{width}x{height} to x{scale}, {name_of(dtype)} on {device}, {frames} frames"
        f" a run\nours, memory to memory: {1 / mine:.1f} frames a second,"
        f" {1000 * mine:.1f} ms each\nSPAN, within the device: {1 / span:.1f} frames a"
        f" second, {1000 * span:.1f} ms each; ours is {ratio:.2f} times as fast\n"
        f"limits of a frame: arithmetic {1000 * arithmetic:.1f} ms at"
        f" {peak / 1e12:.1f} TFLOP/s, traffic {1000 * traffic / bandwidth:.1f} ms at"
        f" {bandwidth / 1e9:.0f} GB/s; ours takes"
        f" {mine / max(arithmetic, traffic / bandwidth):.1f} times the larger one"
    )
