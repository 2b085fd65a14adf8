"""The training loop: batches in, averaged weights out."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ..engine.precision import exact_float32
from ..network.trainable import TrainableSpanPP
from .capture import CapturedStep, Step
from .colours import colour_shift, positions
from .losses import Loss
from .muon import split
from .patches import Batch
from .report import Log, Report, report_of
from .schedule import Schedule
from .state import STATE, WEIGHTS, restore, write_state, write_weights

Validate = Callable[[TrainableSpanPP], Mapping[str, float]]
"""Measures the averaged weights; what it returns is logged by name."""


def train(
    network: TrainableSpanPP,
    patches: Callable[[int], Dataset[Batch]],
    schedule: Schedule,
    out: Path,
    *,
    fabric: Fabric,
    settings: Mapping[str, Any],
    loss_of: Callable[[int], Loss] = lambda step: F.l1_loss,
    colours: float = 0.0,
    workers: int = 0,
    compiled: bool = False,
    captured: bool = False,
    validate: Validate | None = None,
    on_report: Callable[[Report], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    finish: Callable[[TrainableSpanPP], TrainableSpanPP] = lambda network: network,
) -> int:
    """Trains a network, or resumes what was begun in ``out``.

    After every `Schedule.save_every` steps, ``out`` holds the state and the averaged
    weights; a run that was killed and is started again does what it would have done.
    TensorBoard's events lie there too.

    Args:
        network: The initial network; ignored where ``out`` has a state.
        patches: Gives a process its batches, from its number; see `Patches`.
        schedule: How long and how fast.
        out: A folder.
        fabric: Where it runs, in which precision, launched.
        settings: Everything that makes this run what it is, as JSON can hold it; stored
            with the weights, and compared when a run is taken up again.
        loss_of: What a step, from 0 on, makes small; see `LOSSES`.
        colours: What `colour_shift` counts beside the loss; plain networks only.
        workers: Processes that prepare batches beside this one.
        compiled: Whether the body runs as `torch.compile` makes it; plain networks only.
        captured: Whether steps become CUDA graphs; one GPU only, see `CapturedStep`.
        validate: Called before the first step and whenever the state is saved.
        on_report: Called after every `Schedule.log_every` steps.
        should_stop: Asked after each step, by several processes at each report; then
            the state is saved and the run ends.
        finish: What the averaged weights go through where the run ends or stops.

    Returns:
        The steps done in all.

    Raises:
        TrainingError: ``out`` has the state of a run with other settings, or the loss is
            not finite any more.
    """
    network.to(fabric.device)
    average = _Average(network)
    if compiled:
        network.compile_features()
    optimizers = schedule.optimizers(*split(network), captured=captured)
    model, *set_up = cast("tuple[Any, ...]", fabric.setup(network, *optimizers))
    parts = {"network": network, "average": average.network}
    parts |= {type(optimizer).__name__: optimizer for optimizer in optimizers}
    # only now are the weights where they are trained: the optimizers' state follows them
    done = restore(out / STATE, settings, parts)

    turn = torch.tensor(done, device=fabric.device)

    @functools.lru_cache(maxsize=1)  # the graphs of a loss that is over go
    def step_of(loss: Loss) -> Step:
        do = _step(network, model, loss, colours, turn, set_up, schedule.clip, fabric)
        return CapturedStep(do, fabric.device) if captured else do

    items = patches(fabric.global_rank)
    batches = _batches(items, range(done, schedule.steps), workers, fabric)
    log = Log(out, fabric.is_global_zero)

    def measure(step: int) -> None:
        if validate is not None and fabric.is_global_zero:
            log.add(validate(average.network), step)

    if done == 0:
        measure(0)
    seen: list[tuple[float, Tensor, Tensor]] = []
    for step, batch in enumerate(batches, done + 1):
        rate = schedule.set_rates(set_up, step - 1)
        value, norm = step_of(loss_of(step - 1))(batch)
        average.keep(schedule.decay(step - 1))
        seen.append((float(batch.scale), value, norm))
        pauses = schedule.saves_after(step) or step % schedule.log_every == 0
        # several processes ask rarely: they wait for the answer of the first
        asks = pauses or fabric.world_size == 1
        stops = asks and bool(fabric.broadcast(should_stop()))
        saves = stops or schedule.saves_after(step)
        if saves or pauses:
            report = report_of(step, seen, rate)
            seen.clear()
            log.add(report.scalars(), step)
            if on_report is not None:
                on_report(report)
        if saves:
            if fabric.is_global_zero:
                made = average.network
                made = finish(made) if stops or step == schedule.steps else made
                write_weights(out / WEIGHTS, made, settings, step)
                write_state(out / STATE, settings, step, parts)
            measure(step)
        done = step
        if stops:
            break
    log.close()
    return done


def _step(
    network: TrainableSpanPP,
    model: Any,
    loss: Loss,
    colours: float,
    turn: Tensor,
    optimizers: Sequence[Any],
    clip: float,
    fabric: Fabric,
) -> Step:
    """Returns what does a step, and counts it in ``turn``.

    ``model`` is ``network`` as Fabric runs it.
    """

    def forward_and_back(batch: Batch) -> Tensor:
        low, high = batch.unit(fabric.device)
        with exact_float32(fabric.device):
            value = loss(model(low, float(batch.scale)), high)
            beside = 0.0
            if colours:
                at = positions(turn.add_(1))
                beside = colours * colour_shift(network, batch.scale, at)
            fabric.backward(value + beside)
        return value.detach()

    def do(batch: Batch) -> tuple[Tensor, Tensor]:
        try:
            value = forward_and_back(batch)
            norm = nn.utils.clip_grad_norm_(network.parameters(), clip)
            for optimizer in optimizers:
                optimizer.step()
        finally:
            for optimizer in optimizers:
                optimizer.zero_grad()
        return value, norm

    return do


def _batches(
    patches: Dataset[Batch], steps: range, workers: int, fabric: Fabric
) -> Iterable[Batch]:
    """Yields the batches of some steps, where the network is."""
    loader = DataLoader(
        patches,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        pin_memory=workers > 0 and fabric.device.type == "cuda",
    )
    return cast(
        "Iterable[Batch]",
        fabric.setup_dataloaders(loader, use_distributed_sampler=False),
    )


class _Average:
    """The exponential moving average (EMA) of the weights of a network."""

    def __init__(self, network: TrainableSpanPP) -> None:
        self.network = copy.deepcopy(network)
        self._averaged: list[Tensor] = [*self.network.parameters()]
        self._newest: list[Tensor] = [*network.parameters()]

    @torch.no_grad()
    def keep(self, share: float) -> None:
        """Keeps a share of the average; the rest comes from the network."""
        torch._foreach_lerp_(  # pyright: ignore
            self._averaged, self._newest, 1 - share
        )
