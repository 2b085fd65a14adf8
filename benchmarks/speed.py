"""How fast SpanPP is here, against everything else that is installed, in one run.

First the table: seconds an image takes as ratios to SPAN in float32 through spandrel
(float16, channels-last, on CUDA), images per second, and the share of the machine's peak
in the same precision: the faster of a product of matrices and a wide convolution. A
round runs each contestant once, so that a machine whose speed drifts slows all of them
alike; printed is the median of the rounds' ratios with its quartiles. Then what
changing the scale costs, how the time grows with the sizes of image and batch, and
frames per second from memory to memory (1920x1080 on CUDA) against the machine's limits.

On CUDA a video follows: decoding, network and encoding in turn and side by side.

Run on an idle machine: python benchmarks/speed.py [--size 256x256] [--scale 2]
[--device cuda] [--no-compiled] [--quick] [--plot speed.png], with resselt, onnxruntime,
openvino, ncnn and matplotlib installed; what is missing is left out.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import logging
import tempfile
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from statistics import median

import torch
import upscalers as field
from frames import end_to_end
from timing import Spread, Times, flop_per_pixel, interleaved, seconds
from torch import Tensor
from upscalers import Run, dtypes_of, name_of

import spanpp_core
from spanpp_core import SpanPPDescriptor
from spanpp_core.network.scale import grid_scale

SCALES = (2, 3, 4, 2.5, 1.5)


def compare(
    model: SpanPPDescriptor, images: Tensor, given: argparse.Namespace
) -> dict[str, Spread]:
    """Prints the table and returns its ratios."""
    device = images.device
    cpu = device.type == "cpu"
    if not cpu:
        print("ONNX Runtime, OpenVINO and ncnn are run on CPUs only, left out")
    peaks = {name_of(dtype): field.peaks(dtype, device) for dtype in dtypes_of(device)}
    limits = [(name, run) for of in peaks.values() for name, (run, _) in of.items()]
    with tempfile.TemporaryDirectory() as folder:
        every = chain(
            field.span(given.scale, device),
            field.original(given.scale, device),
            field.ours(model, images, compiled=given.compiled),
            field.exported(given.model, given.scale, given.threads, Path(folder))
            if cpu
            else (),
            limits,
        )
        times = interleaved(field.warmed_up(every, images), images, given.rounds)
    body, upsampler = flop_per_pixel(model.model)
    print(
        f"\n{'x'.join(map(str, given.size))} to x{given.scale} on {device},"
        f" {given.threads} threads, torch {torch.__version__}, {given.rounds} rounds;"
        f" {body / 1e6:.2f} MFLOP per pixel in the body, {upsampler / 1e6:.3f} after it"
    )
    best: dict[str, list[float]] = {}
    for dtype, of in peaks.items():
        rates = [[work / t for t in times.pop(name)] for name, (_, work) in of.items()]
        best[dtype] = [max(each) for each in zip(*rates)]
        for name, rate in zip(of, rates):
            print(f"{name}: {median(rate) / 1e9:.0f} GFLOP/s")
    print(f"{'':32}  ratio  quartiles         ms  images/s  share of peak")
    base = times.get("SPAN float16") or times["SPAN float32"]
    flop = (body + upsampler) * images[0, 0].numel()
    ratios: dict[str, Spread] = {}
    for name, taken in times.items():
        ratios[name] = ratio = Spread.of([x / y for x, y in zip(taken, base)])
        line = f"{name:32}{ratio.middle:7.2f}  {ratio.low:.2f} to {ratio.high:.2f}"
        line += f"{1000 * median(taken):11.1f}{1 / median(taken):10.2f}"
        dtype = next((kind for kind in peaks if kind in name), None)
        if dtype and not name.startswith("SPAN "):
            shares = [flop / t / rate for t, rate in zip(taken, best[dtype])]
            line += f"{median(shares):15.0%}"
        print(line)
    return ratios


def scale_changes(model: SpanPPDescriptor, rounds: int) -> None:
    """Prints what a scale costs when it is first asked for, and afterwards."""
    print("\nChanging the scale: first use, ms (quartiles); then, from the cache")

    def ask(scale: float) -> Run:
        grid = grid_scale(scale)

        def make(images: Tensor) -> object:
            return generator.kernels_for(grid, torch.float32, images.device)

        return make

    nothing = torch.empty(0, device=model.device)
    first: Times = {f"x{scale:g}": [] for scale in SCALES}
    again: Times = {f"x{scale:g}": [] for scale in SCALES}
    for _ in range(rounds):
        generator = copy.deepcopy(model.model.upsampler)  # copies have made nothing yet
        for scale in SCALES:
            first[f"x{scale:g}"].append(1000 * seconds(ask(scale), nothing))
            again[f"x{scale:g}"].append(1000 * seconds(ask(scale), nothing))
    for name, taken in first.items():
        cost = Spread.of(taken)
        line = f"{name:6}{cost.middle:8.1f}  ({cost.low:.1f} to {cost.high:.1f})"
        print(f"{line}  {median(again[name]):.3f}")


def growth(model: SpanPPDescriptor, rounds: int) -> dict[str, dict[int, float]]:
    """Prints megapixels of input per second by size and batch; returns those by size."""
    cuda = model.device.type == "cuda"
    sizes = (64, 128, 256, 512, *((1024, 2048) if cuda else ()))
    runs: dict[str, Run] = {
        name_of(dtype): model.with_dtype(dtype).model
        for dtype in dtypes_of(model.device)
    }
    by_size: dict[str, dict[int, float]] = {name: {} for name in runs}
    print("\nMillions of input pixels per second")
    cases = [(1, side) for side in sizes] + [(batch, 128) for batch in (2, 4, 8)]
    for batch, side in cases:
        images = torch.rand(batch, 3, side, side, device=model.device)
        field.warmed_up(iter(runs.items()), images)
        times = interleaved(runs, images, rounds)
        line = f"{batch} of {side}x{side}"
        for name, taken in times.items():
            rate = batch * side**2 / median(taken) / 1e6
            line += f"   {name} {rate:.2f}"
            if batch == 1:
                by_size[name][side] = rate
        print(line)
    return by_size


def plot(
    path: Path,
    title: str,
    ratios: Mapping[str, Spread],
    by_size: Mapping[str, Mapping[int, float]],
) -> None:
    """Draws the table's ratios and the growth with the size; needs matplotlib."""
    try:
        plt = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        print("matplotlib is not installed, no plot")
        return
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 5), width_ratios=(3, 2), layout="constrained"
    )
    names = sorted(ratios, key=lambda name: -ratios[name].middle)
    middles = [ratios[name].middle for name in names]
    below = [ratios[name].middle - ratios[name].low for name in names]
    above = [ratios[name].high - ratios[name].middle for name in names]
    colours = ["tab:orange" if "ours" in name else "tab:gray" for name in names]
    left.barh(names, middles, xerr=(below, above), color=colours, capsize=3)
    left.set_xlabel("time of an image, relative to SPAN; bars are quartiles")
    left.set_title(title)
    for name, rates in by_size.items():
        right.plot(list(rates), list(rates.values()), marker="o", label=f"ours {name}")
    right.set_xscale("log", base=2)
    right.set_ylim(bottom=0)
    right.set_xlabel("side of the image, pixels")
    right.set_ylabel("millions of input pixels per second")
    right.legend()
    figure.savefig(path, dpi=110)
    print(f"\n{path} written")


def shape(text: str) -> tuple[int, int]:
    """``256x320`` -> (256, 320)."""
    height, width = map(int, text.split("x"))
    return height, width


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=spanpp_core.bundled_model())
    parser.add_argument(
        "--size", type=shape, default=(256, 256), help="HEIGHTxWIDTH of the input"
    )
    parser.add_argument("--scale", type=int, default=2, choices=(1, 2, 3, 4))
    parser.add_argument("--rounds", type=int, default=21, help="at least 2")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument(
        "--compiled", action=argparse.BooleanOptionalAction, default=True
    )
    parser.add_argument(
        "--quick", action="store_true", help="only the table and frames per second"
    )
    parser.add_argument("--plot", type=Path, help="picture to write")
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error("--rounds: a spread takes at least 2")
    logging.getLogger("torch").setLevel(logging.ERROR)
    torch.set_num_threads(given.threads)
    model = spanpp_core.load(given.model, device=given.device).at_scale(given.scale)
    images = torch.rand(1, 3, *given.size, device=given.device)
    with torch.inference_mode():
        ratios = compare(model, images, given)
        rounds = max(2, given.rounds // 3)
        by_size: dict[str, dict[int, float]] = {}
        if not given.quick:
            scale_changes(model, given.rounds)
            by_size = growth(model, rounds)
        cuda = model.device.type == "cuda"
        size, frames = ((1080, 1920), 16) if cuda else (given.size, 4)
        end_to_end(model, size, frames, rounds)
        if cuda and not given.quick and importlib.util.find_spec("av"):
            network = model.with_dtype(spanpp_core.fastest_dtype(given.device))
            video = importlib.import_module("video_speed")  # which needs PyAV
            video.compare_on(network, 1920, 1080, 2, rounds)
    if given.plot is not None:
        height, width = given.size
        title = f"{width}x{height} to x{given.scale} on {given.device}"
        plot(given.plot, title, ratios, by_size)


if __name__ == "__main__":
    main()
