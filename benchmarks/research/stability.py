"""How stable the first steps of training are: networks x learning rates x seeds.

Every network sees the same patches for the same seed, at x2, with Adam and L1, without
warm-up, clipping or decay. A run that is in the file of results already is not run
again, so the command can be stopped and given again, or given with more seeds.

Run: python benchmarks/research/stability.py PHOTOS [--held-out FOLDER] [--steps 60]
[--seeds 5] [--rates 5e-4 1e-3 2e-3 4e-3] [--out stability.jsonl] [--plot stability.png], with
resselt and matplotlib installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import rivals
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from trajectory import diverged, passed, percentile, spikes

import spanpp_core
from spanpp_core import images
from spanpp_core.metrics import psnr_y
from spanpp_core.network.branches import PUBLISHED_ALPHA, STEADY_ALPHA
from spanpp_core.resize import resize
from spanpp_core.training.patches import Batch, Patches, smallest_side
from spanpp_core.training.photos import Photos
from spanpp_core.training.scale_draw import ScaleDraw

SCALE = 2

CROP = 128
"""Side in pixels of what is measured in the middle of a held-out photo."""

NETWORKS: Mapping[str, Callable[[int], nn.Module]] = {
    "SPAN": partial(rivals.span, SCALE, norm=True),
    "SPAN, no norm": partial(rivals.span, SCALE, norm=False),
    "SPANPlus": partial(rivals.spanplus, SCALE),
    "SpanPP, as published": partial(rivals.spanpp, alpha=PUBLISHED_ALPHA),
    "SpanPP, alpha 1/3": partial(rivals.spanpp, alpha=STEADY_ALPHA),
    "SpanPP, alpha 1/3, plain gain": partial(
        rivals.spanpp_as_plain, alpha=STEADY_ALPHA
    ),
}
"""From the number of channels to a new network."""

SETTINGS = ("steps", "batch", "patch", "channels")
"""What is the same in all runs that are compared."""

Row = dict[str, Any]
"""One run: what it was, and its losses, gradient norms and scores."""


def photos_of(folder: Path, pack: Path, smallest: int) -> Photos:
    """Opens the photos of a folder as training reads them."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    pixels = (np.array(Image.open(path).convert("RGB")) for path in files)
    return Photos.pack(pixels, pack, smallest, str(folder))


def middle_of(path: Path) -> Tensor:
    """Reads the middle of a photo as (1, 3, CROP, CROP) in [0, 1]."""
    pixels = images.read(path).pixels[:, :3]
    top, left = ((side - CROP) // 2 for side in pixels.shape[-2:])
    return pixels[..., top : top + CROP, left : left + CROP]


def run(
    network: nn.Module,
    rate: float,
    batches: Sequence[Batch],
    held_out: Tensor,
    every: int,
) -> Row:
    """Trains a network on batches and returns what it went through.

    Ends early when a loss or a gradient is not finite.
    """
    optimizer = torch.optim.Adam(network.parameters(), rate, fused=True)
    losses: list[float] = []
    norms: list[float] = []
    scores: dict[int, float] = {}
    for step, batch in enumerate(batches, 1):
        low, high = batch.unit(torch.device("cpu"))
        optimizer.zero_grad()
        loss = F.l1_loss(network(low), high)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), math.inf)  # measured only
        losses.append(loss.item())
        norms.append(norm.item())
        if not math.isfinite(losses[-1] + norms[-1]):
            break
        optimizer.step()
        if step % every == 0 or step == len(batches):
            scores[step] = score(network, held_out)
    return {"losses": losses, "norms": norms, "scores": scores}


def score(network: Callable[[Tensor], Tensor], held_out: Tensor) -> float:
    """Returns the mean PSNR-Y in dB on the crops (N, 3, CROP, CROP)."""
    low = resize(held_out, (CROP // SCALE, CROP // SCALE))
    with torch.no_grad():
        made = network(low).clamp(0, 1).nan_to_num()
    pairs = zip(made.split(1), held_out.split(1))
    return mean(psnr_y(image, original, SCALE) for image, original in pairs)


def runs(given: argparse.Namespace, done: Sequence[Row]) -> Iterator[Row]:
    """Yields the runs asked for that are not among those done."""
    known = [what_of(row) for row in done]
    draw = ScaleDraw.whole([SCALE])
    held_out = torch.cat([middle_of(path) for path in given.held_out])
    with tempfile.TemporaryDirectory() as folder:
        smallest = smallest_side(given.patch, draw)
        photos = photos_of(given.photos, Path(folder, "photos.bin"), smallest)
        for seed in range(given.seeds):
            patches = Patches(photos, draw, given.patch, given.batch, seed)
            batches = [patches[step] for step in range(given.steps)]
            for name in given.networks:
                for rate in given.rates:
                    what = {"network": name, "rate": rate, "seed": seed}
                    what |= settings_of(given)
                    if what in known:
                        continue
                    torch.manual_seed(seed)
                    network = NETWORKS[name](given.channels)
                    yield what | run(network, rate, batches, held_out, given.every)


def settings_of(given: argparse.Namespace) -> Row:
    """Returns what all runs of a table have in common."""
    return {name: getattr(given, name) for name in SETTINGS}


def what_of(row: Row) -> Row:
    """Returns what tells a run from all others."""
    return {name: row[name] for name in ("network", "rate", "seed", *SETTINGS)}


def table(rows: Sequence[Row], bar: float) -> Iterator[str]:
    """Yields the lines of the results as a Markdown table, one a network and rate.

    Args:
        rows: The runs.
        bar: PSNR-Y of bicubic on the same crops.
    """
    yield (
        "| network | learning rate | diverged | p99 / median of the gradient norm |"
        " spikes a run | PSNR-Y at the end: median (lowest to highest) |"
        " steps to pass bicubic |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name in NETWORKS:
        for rate in sorted({row["rate"] for row in rows}):
            of = [r for r in rows if r["network"] == name and r["rate"] == rate]
            if of:
                yield f"| {name} | {rate:g} | {' | '.join(cells(of, bar))} |"


def cells(of: Sequence[Row], bar: float) -> list[str]:
    """Returns what the seeds of one network and rate came to."""
    lost = [diverged(row["losses"], row["norms"]) for row in of]
    steady = [percentile(r["norms"], 0.99) / median(r["norms"]) for r in of]
    peaks = [percentile(r["norms"], 0.99) for r in of]
    ends = [last(row) for row in of]
    when = [passed(row["scores"], bar) for row in of]
    there = sorted(step for step in when if step is not None)
    return [
        f"{sum(lost)}/{len(of)}",
        f"{median(peaks):.3g} ({median(steady):.1f})",
        f"{mean(spikes(row['losses']) for row in of):.1f}",
        f"{median(ends):.1f} ({min(ends):.1f} to {max(ends):.1f})",
        f"{median(there):.0f} ({len(there)}/{len(of)})" if there else "-",
    ]


def last(row: Row) -> float:
    """Returns the PSNR-Y at the end of a run, 0 dB if it broke off."""
    broken = not math.isfinite(row["losses"][-1] + row["norms"][-1])
    return 0.0 if broken or not row["scores"] else list(row["scores"].values())[-1]


def plot(path: Path, rows: Sequence[Row], bar: float) -> None:
    """Draws losses over steps for each rate, and the PSNR at the end of each run."""
    plt = importlib.import_module("matplotlib.pyplot")
    rates = sorted({row["rate"] for row in rows})
    names = [n for n in NETWORKS if any(row["network"] == n for row in rows)]
    figure, axes = plt.subplots(
        2, len(rates), figsize=(13, 7), sharex="row", sharey="row", squeeze=False
    )
    for column, rate in enumerate(rates):
        above, below = axes[:, column]
        for place, name in enumerate(names):
            of = [r for r in rows if r["network"] == name and r["rate"] == rate]
            steps = min((len(row["losses"]) for row in of), default=0)
            if not steps:
                continue
            losses = np.array([row["losses"][:steps] for row in of])
            middle, at = np.median(losses, 0), np.arange(1, steps + 1)
            above.plot(at, middle, f"C{place}", lw=1.2, label=name)
            above.fill_between(
                at, losses.min(0), losses.max(0), color=f"C{place}", alpha=0.12, lw=0
            )
            ends = [last(row) for row in of]
            below.scatter(ends, [place] * len(ends), s=18, color=f"C{place}")
        above.set_yscale("log")
        above.set_title(f"learning rate {rate:g}")
        above.set_xlabel("step")
        below.axvline(bar, color="black", lw=0.8, ls="--")
        below.set_xlabel("PSNR-Y at the end, dB")
    axes[0, 0].set_ylabel("L1 loss: median, lowest to highest")
    axes[1, 0].set_yticks(range(len(names)), names)
    axes[1, 0].invert_yaxis()
    axes[1, 0].text(bar, -0.4, "bicubic ", ha="right", va="top", fontsize=8)
    axes[0, 0].legend(fontsize=7)
    axes[0, 0].set_ylim(0.02, 1e4)
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    print(f"{path} written")


def main() -> None:
    """Runs what is missing and prints the table."""
    raccoon = Path(spanpp_core.__file__).parent / "data" / "raccoon.jpg"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder to train on")
    parser.add_argument(
        "--held-out", type=Path, help="folder to measure on beside the bundled raccoon"
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3, 4e-3]
    )
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=20, help="steps between scores")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=16, help="low-resolution pixels")
    parser.add_argument("--channels", type=int, default=48)
    parser.add_argument("--out", type=Path, default=Path("stability.jsonl"))
    parser.add_argument("--plot", type=Path, help="picture to write")
    given = parser.parse_args()
    more = sorted(given.held_out.iterdir()) if given.held_out else []
    given.held_out = [raccoon, *more]
    rows: list[Row] = []
    if given.out.exists():
        rows = [json.loads(line) for line in given.out.read_text().splitlines()]
        rows = [row for row in rows if settings_of(given).items() <= row.items()]
        for row in rows:
            row["scores"] = {int(step): s for step, s in row["scores"].items()}
    with given.out.open("a") as file:
        for row in runs(given, rows):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"{row['network']}, {row['rate']:g}, seed {row['seed']}: ", end="")
            print(f"loss {row['losses'][-1]:.4f}, {last(row):.2f} dB", flush=True)
    held_out = torch.cat([middle_of(path) for path in given.held_out])
    bar = score(partial(F.interpolate, scale_factor=SCALE, mode="bicubic"), held_out)
    print(f"bicubic: {bar:.2f} dB on {len(held_out)} held-out crops\n")
    print(*table(rows, bar), sep="\n")
    if given.plot is not None:
        plot(given.plot, rows, bar)


if __name__ == "__main__":
    main()
