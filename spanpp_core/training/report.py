"""What is said of a training's steps: to whoever watches, and in TensorBoard's log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import torch
from tensorboard.summary import Writer
from torch import Tensor

from ..errors import TrainingError


class Report(NamedTuple):
    """What became of the steps since the last report."""

    step: int
    """The last of them, counted from 1."""
    losses: Mapping[float, float]
    """The mean loss at each scale that was drawn."""
    gradient_norm: float
    """The largest, before it was clipped."""
    learning_rate: float
    """Of Muon, at the last step."""

    @property
    def loss(self) -> float:
        """The mean over the scales that were drawn."""
        return sum(self.losses.values()) / len(self.losses)

    def scalars(self) -> dict[str, float]:
        """Returns what is logged, by name."""
        each = {f"loss/x{scale:.4g}": loss for scale, loss in self.losses.items()}
        return each | {
            "gradient_norm": self.gradient_norm,
            "learning_rate": self.learning_rate,
        }


def report_of(
    step: int, seen: list[tuple[float, Tensor, Tensor]], learning_rate: float
) -> Report:
    """Reads the losses and gradient norms of some steps: the only wait for the GPU.

    Args:
        step: The last of them, counted from 1.
        seen: For each step its scale, its loss and the norm of its gradient, scalars.
        learning_rate: Muon's, at the last step.

    Raises:
        TrainingError: A loss or norm is not finite.
    """
    scales = [scale for scale, _, _ in seen]
    losses = _read([value for _, value, _ in seen])
    norms = _read([norm for _, _, norm in seen])
    for name, values in (("loss", losses), ("gradient norm", norms)):
        bad = [value for value in values if not math.isfinite(value)]
        if bad:
            raise TrainingError(
                f"the {name} is {bad[0]} by step {step}: start again from the saved"
                f" state with a lower learning rate than {learning_rate:g}"
            )
    by_scale = {
        scale: sum(v for s, v in zip(scales, losses) if s == scale)
        / scales.count(scale)
        for scale in sorted(set(scales))
    }
    return Report(step, by_scale, max(norms), learning_rate)


def _read(scalars: list[Tensor]) -> list[float]:
    return cast("list[float]", torch.stack(scalars).tolist())  # pyright: ignore


class Log:
    """TensorBoard's log of a run, which one of its processes writes.

    Args:
        folder: Where its files go.
        main: Whether this is the process; in all others nothing is written.
    """

    def __init__(self, folder: Path, main: bool) -> None:
        self.writer = Writer(str(folder)) if main else None

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Writes values by their names, as those of a step."""
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Ends the log; what was added is on disk then."""
        if self.writer is not None:
            self.writer.close()
