"""Tables of quality in Markdown, as they stand in the model card."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from statistics import mean

from quality_scores import Score

PUBLISHED: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "Set5": {
        "bicubic": {"2": 33.66, "3": 30.39, "4": 28.42},
        "FSRCNN, 12 K parameters": {"2": 37.00, "3": 33.16, "4": 30.71},
        "CARN-M, 415 K": {"2": 37.53, "3": 33.99, "4": 31.92},
        "SPAN, 48 channels": {"4": 32.20},
        "SMFANet+ with IGConv": {"2": 38.16, "3": 34.62, "4": 32.47},
    },
    "Set14": {
        "bicubic": {"2": 30.24, "3": 27.55, "4": 26.00},
        "FSRCNN, 12 K parameters": {"2": 32.63, "3": 29.43, "4": 27.59},
        "CARN-M, 415 K": {"2": 33.26, "3": 30.08, "4": 28.42},
        "SPAN, 48 channels": {"4": 28.66},
        "SMFANet+ with IGConv": {"2": 33.96, "3": 30.56, "4": 28.84},
    },
    "BSD100": {
        "bicubic": {"2": 29.56, "3": 27.21, "4": 25.96},
        "FSRCNN, 12 K parameters": {"2": 31.53, "3": 28.53, "4": 26.98},
        "CARN-M, 415 K": {"2": 31.92, "3": 28.91, "4": 27.44},
        "SMFANet+ with IGConv": {"2": 32.32, "3": 29.25, "4": 27.74},
    },
}
"""PSNR on Y in dB by set, network and scale, as others published it; not measured here.
Their inputs are made smaller by MATLAB's bicubic kernel."""

Row = tuple[str, Sequence[str]]
"""The name of a row, and its cells."""


def markdown(heading: str, columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Returns a table with a heading above it."""
    lines = [f"\n### {heading}\n", f"| | {' | '.join(columns)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    return "\n".join(lines)


def quality(scores: Sequence[Score]) -> str:
    """Returns PSNR / SSIM, the means over photos."""
    if not scores:
        return ""
    return (
        f"{mean(s.psnr for s in scores):.2f} / {mean(s.ssim or 0 for s in scores):.4f}"
    )


def published(folder: str, scales: Sequence[str]) -> list[Row]:
    """Returns a row for each network that has published a figure of a set."""
    return [
        (
            f"published: {name}",
            [f"{at[scale]:.2f}" if scale in at else "" for scale in scales],
        )
        for name, at in PUBLISHED.get(folder, {}).items()
        if any(scale in at for scale in scales)
    ]


def gains(scores: Sequence[Score], plain: Sequence[Score]) -> list[float]:
    """Returns by how many dB a photo is better than by a plain upscaler, for each."""
    return [ours.psnr - theirs.psnr for ours, theirs in zip(scores, plain)]


def better(first: Sequence[Score], second: Sequence[Score]) -> list[Score]:
    """Returns the better of two upscalers for each photo, by PSNR."""
    return [max(a, b, key=lambda score: score.psnr) for a, b in zip(first, second)]


def gain(values: Sequence[float]) -> str:
    """Returns the mean of gains in dB, and the gain of the worst photo in brackets."""
    return f"{mean(values):+.2f} ({min(values):+.2f})"


def course(
    values: Sequence[float], points: Sequence[float], near: float = 0.005
) -> str:
    """Says how a gain goes along the line from one model to another.

    Args:
        values: The gain in dB at each point.
        points: From 0 to 1, ascending.
        near: Steps against the trend that are not more than this do not count.

    Returns:
        "rises", "falls", "level", "best at 0.5" if it rises to there and falls after, or
        "up and down".
    """
    steps = [b - a for a, b in itertools.pairwise(values)]
    best = values.index(max(values))
    rises = all(step >= -near for step in steps[:best])
    falls = all(step <= near for step in steps[best:])
    if max(values) - min(values) <= near:
        return "level"
    if all(step >= -near for step in steps):
        return "rises"
    if all(step <= near for step in steps):
        return "falls"
    return f"best at {points[best]:g}" if rises and falls else "up and down"
