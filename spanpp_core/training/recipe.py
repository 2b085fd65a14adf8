"""A recipe: everything that makes a training what it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, get_args

from ..errors import TrainingError
from ..network.scale import MAX_SCALE, MIN_SCALE
from .degradation import DEGRADATIONS, DegradationName
from .losses import LossName
from .patches import Patches, smallest_side
from .photos import Photos
from .scale_draw import ScaleDraw
from .schedule import Schedule

TrainingPrecision = Literal["fp32", "bf16"]
"""What the body runs in; the weights are float32 always."""

NEW_RATE = 1e-2
"""Muon's learning rate for a new network: half of the fastest that was stable."""

FURTHER_RATE = 2e-3
"""The same for one that is trained already."""

_CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "loss": get_args(LossName),
    "last_loss": (*get_args(LossName), None),
    "degrade": tuple(DEGRADATIONS),
    "precision": get_args(TrainingPrecision),
}

_LEAST: Mapping[str, int] = {
    "steps": 1,
    "batch": 1,
    "patch": 1,
    "channels": 1,
    "choices": 1,
    "warm_up": 0,
    "seed": 0,
}
"""The smallest value of settings that are whole numbers."""

_SHARES = ("flat", "last", "tail", "ema")
"""Settings from 0 to 1."""


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what patches, and how."""

    scales: tuple[int, ...] = (1, 2, 3, 4)
    """The trained whole scales, from 1 to 8."""
    continuous: bool | None = None
    """Whether some steps are at fractional scales. None: as ``weights`` were trained."""
    fractions: float = 0.5
    """The share of such steps, if any, at simple fractions such as 3/2."""
    often: Mapping[str, float] = field(default_factory=dict[str, float])
    """How often some of these fractions come, such as {"5/2": 6}; each other counts 1."""
    between: float = 0.0
    """The share of further ones at any scale between the smallest and the largest."""
    shares: tuple[float, ...] = ()
    """How often each of ``scales`` comes, in proportion; empty: equally often."""
    weights: str | None = None
    """The SpanPP file to begin with; None begins with a random network."""
    channels: int = 48
    """Of a random network."""
    branches: bool = True
    """Whether three branches stand behind each 3x3 convolution, as published, or none."""
    batch: int = 8
    """Pairs of patches a step, in each process."""
    patch: int = 48
    """Side of the low-resolution patches, in pixels."""
    choices: int = 1
    """Places drawn for each patch, of which the most detailed one is taken."""
    flat: float = 0.0
    """The share of pairs that are of one colour."""
    colours: float = 0.0
    """What the mean shift of flat colours counts beside the loss; not with branches."""
    degrade: DegradationName = "none"
    """What low resolution suffers besides being made smaller."""
    loss: LossName = "l1"
    last_loss: LossName | None = None
    """Of the last steps; None: the same."""
    last: float = 0.2
    """The share of those steps."""
    steps: int = 20_000
    learning_rate: float | None = None
    """Muon's. None: `NEW_RATE`, or `FURTHER_RATE` with ``weights``."""
    weight_decay: float = 0.0
    """Of the body's matrices: the share of each that goes in a step, per learning rate."""
    warm_up: int = 100
    """Steps over which the learning rate rises first; see `Schedule`."""
    tail: float = 0.5
    """The share of the steps, at the end, over which it falls; see `Schedule`."""
    ema: float = 0.998
    """The share of the averaged weights that a step keeps; see `Schedule`."""
    precision: TrainingPrecision = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_values()
        self._check_scales()

    def _check_values(self) -> None:
        """Checks the settings that are no scales; an error names the one to mend."""
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                names = ", ".join(filter(None, known))
                raise TrainingError(
                    f"{name} is {getattr(self, name)!r}; give one of {names}"
                )
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise TrainingError(
                    f"{name} is {getattr(self, name)}; give {least} or more"
                )
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(
                    f"{name} is {getattr(self, name):g}; give a share from 0 to 1"
                )
        if self.colours < 0 or (self.colours and self.branches):
            raise TrainingError(
                f"colours is {self.colours:g} with branches = {str(self.branches).lower()};"
                " give a number from 0, and train without branches (--plain) above it"
            )
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise TrainingError(
                f"the learning rate is {self.learning_rate:g}; give more than 0"
            )

    def _check_scales(self) -> None:
        """Checks the scales, and how often each comes."""
        scales = self.scales
        good = scales and all(MIN_SCALE <= s <= MAX_SCALE for s in scales)
        if not good or len(set(scales)) != len(scales):
            raise TrainingError(
                f"--scales {' '.join(map(str, scales))}: give whole numbers from"
                f" {MIN_SCALE} to {MAX_SCALE}, each once"
            )
        shares = self.shares
        if shares and (len(shares) != len(scales) or min(shares) <= 0):
            raise TrainingError(
                f"shares are {list(shares)}; give a number above 0 for each of the"
                f" scales {list(scales)}, or none"
            )
        if min(self.fractions, self.between) < 0 or self.fractions + self.between >= 1:
            raise TrainingError(
                f"fractions are {self.fractions:g} and between is {self.between:g}; give"
                " shares of the steps from 0, less than 1 together"
            )
        odd = [item for item in self.often.items() if not _is_positive(item[1])]
        if odd:
            name, times = odd[0]
            raise TrainingError(
                f"often has {times!r} for {name}; give a number above 0"
            )

    def loss_of(self, step: int) -> LossName:
        """Returns the loss of a step, from 0 on."""
        late = step >= self.steps * (1 - self.last)
        return self.last_loss if self.last_loss and late else self.loss

    def draw(self) -> ScaleDraw:
        """Returns the scales of steps.

        Raises:
            TrainingError: ``often`` or ``between`` is of scales that are not trained.
        """
        if self.often and not (self.continuous and self.fractions):
            raise TrainingError(
                "often is of simple fractions, and none are trained; set continuous = true"
                " (--continuous) and fractions above 0, or leave often out"
            )
        if self.between and not self.continuous:
            raise TrainingError(
                f"between is {self.between:g}, and fractional scales are not trained; set"
                " continuous = true (--continuous), or leave between out"
            )
        if self.continuous:
            return ScaleDraw.continuous(
                self.scales, self.fractions, self.shares, self.between, self.often
            )
        return ScaleDraw.whole(self.scales, self.shares)

    def patches(self, photos: Photos, rank: int = 0) -> Patches:
        """Returns the batches of a process, see `Patches`."""
        return Patches(
            photos,
            self.draw(),
            self.patch,
            self.batch,
            self.seed,
            rank,
            DEGRADATIONS[self.degrade],
            self.choices,
            self.flat,
        )

    @property
    def smallest_side(self) -> int:
        """The shorter side that a photo must have at least, in pixels."""
        return smallest_side(self.patch, self.draw())

    def validation_scales(self) -> list[Fraction]:
        """Returns the scales to measure at: the whole ones, and a half if it is trained."""
        whole = [Fraction(scale) for scale in self.scales]
        halves = [scale for scale in self.draw().scales if scale.denominator == 2]
        return sorted({*whole, *halves[:1]})

    @property
    def rate(self) -> float:
        """Muon's learning rate, see `learning_rate`."""
        return self.learning_rate or (FURTHER_RATE if self.weights else NEW_RATE)

    def schedule(self, save_every: int, log_every: int = 10) -> Schedule:
        """Returns how long and how fast."""
        return Schedule(
            self.steps,
            self.rate,
            self.warm_up,
            self.tail,
            ema=self.ema,
            weight_decay=self.weight_decay,
            save_every=save_every,
            log_every=log_every,
        )


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf
