"""How long a training takes, and how large its steps are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .muon import Muon

ADAM_SHARE = 1 / 30
"""Adam's learning rate over Muon's, which are not in the same units."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each step, and how the weights are averaged."""

    steps: int
    learning_rate: float = 3e-3
    """The share of its norm by which a step changes a matrix of the body, at most.
    Everything else is Adam's, at a thirtieth."""
    warm_up: int = 100
    """Steps over which the rate rises from 0 first."""
    tail: float = 0.5
    """The share of the steps, at the end, over which it falls to 0 in a straight line.
    Until then no step depends on how many there will be, so a run can be made longer."""
    clip: float = 1.0
    """The norm that gradients are scaled down to."""
    ema: float = 0.998
    """The share of the averaged weights that a step keeps, in the long run; see
    `decay`."""
    weight_decay: float = 0.0
    """Of the matrices; see `Muon`."""
    save_every: int = 500
    """Steps between two saved states."""
    log_every: int = 10
    """Steps between two reports. Only then is the loss read, which waits for the GPU."""

    @property
    def rates(self) -> tuple[float, float]:
        """The highest learning rates of Muon and of Adam."""
        return self.learning_rate, self.learning_rate * ADAM_SHARE

    def optimizers(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        captured: bool = False,
    ) -> list[torch.optim.Optimizer]:
        """Returns Muon and Adam at their highest learning rates.

        Args:
            matrices: Muon's; see `muon.split`.
            others: Adam's.
            captured: Whether their steps become part of CUDA graphs, which read learning
                rates from tensors.
        """
        of_muon, of_adam = (
            torch.tensor(rate) if captured else rate for rate in self.rates
        )
        how = {"fused": True, "capturable": True} if captured else {"foreach": True}
        return [
            Muon(matrices, of_muon, self.weight_decay),
            torch.optim.Adam(others, of_adam, (0.9, 0.99), **how),
        ]

    def set_rates(self, optimizers: Iterable[Any], step: int) -> float:
        """Sets the learning rates of a step, from 0 on; returns Muon's."""
        muon, adam = (self.share(step) * highest for highest in self.rates)
        for optimizer, rate in zip(optimizers, (muon, adam)):
            group = optimizer.param_groups[0]
            if isinstance(group["lr"], Tensor):
                # a restored one may be elsewhere
                at = group["params"][0].device
                group["lr"] = group["lr"].to(at).fill_(rate)
            else:
                group["lr"] = rate
        return muon

    def share(self, step: int) -> float:
        """Returns the share of the highest learning rate that a step has, from 0 on."""
        rising = min(1.0, (step + 1) / max(1, self.warm_up))
        falling = min(1.0, (self.steps - step) / max(1.0, self.tail * self.steps))
        return rising * falling

    def decay(self, averaged: int) -> float:
        """Returns the share that an average over so many steps keeps when one is added.

        It rises to `ema`, so that a short run is not mostly its initial weights.
        """
        return min(self.ema, (1 + averaged) / (10 + averaged)) if averaged else 0.0

    def saves_after(self, step: int) -> bool:
        """Returns whether the state is saved after the step, counted from 1."""
        return step % self.save_every == 0 or step == self.steps
