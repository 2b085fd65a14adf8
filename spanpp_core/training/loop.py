"""The training loop: L1, Muon and Adam, cosine to 0, averaged weights as the result."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from safetensors.torch import save  # pyright: ignore
from tensorboard.summary import Writer
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from ..checkpoint import CONTINUOUS
from ..errors import TrainingError
from ..network.branches import SpanPPBranches
from ..whole_file import write_whole
from .muon import Muon, split
from .patches import Batch

ADAM_SHARE = 1 / 30
"""Adam's learning rate over Muon's, which are not in the same units."""

STATE = "state.ckpt"
"""What a stopped run goes on from."""

WEIGHTS = "spanpp.safetensors"
"""The result: averaged weights with their branches, to use or to train further."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast."""

    steps: int
    learning_rate: float = 3e-3
    """The share of its norm by which a step changes a matrix of the body, at first; it
    falls to 0 over the steps by a cosine. Everything else is Adam's, at a thirtieth."""
    warm_up: int = 100
    """Steps over which it rises from 0 first."""
    clip: float = 1.0
    """The norm that gradients are scaled down to."""
    ema: float = 0.998
    """The share of the averaged weights that a step leaves as it was."""
    save_every: int = 500
    """Steps between two saved states."""

    def optimizers(
        self, matrices: Iterable[nn.Parameter], others: Iterable[nn.Parameter]
    ) -> list[torch.optim.Optimizer]:
        """Returns Muon and Adam at their highest learning rates; see `split`."""
        return [
            Muon(matrices, self.learning_rate),
            torch.optim.Adam(others, self.learning_rate * ADAM_SHARE, (0.9, 0.99)),
        ]

    def share(self, step: int) -> float:
        """Returns the share of the highest learning rate that a step has."""
        rising = min(1.0, (step + 1) / max(1, self.warm_up))
        falling = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return rising * falling


class Report(NamedTuple):
    """What became of a step."""

    step: int
    """Counted from 1."""
    scale: float
    loss: float
    gradient_norm: float
    """Before it was clipped."""


Judge = Callable[[SpanPPBranches], Mapping[str, float]]
"""Measures the averaged weights; what it returns is logged by name."""


def train(
    network: SpanPPBranches,
    patches: Callable[[int], Dataset[Batch]],
    schedule: Schedule,
    out: Path,
    *,
    fabric: Fabric,
    settings: Mapping[str, Any],
    workers: int = 0,
    judge: Judge | None = None,
    on_step: Callable[[Report], None] | None = None,
) -> None:
    """Trains a network, or goes on with what was begun in ``out``.

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
        workers: Processes that prepare batches beside this one.
        judge: Asked whenever the state is saved.
        on_step: Called after each step.

    Raises:
        ValueError: ``out`` has the state of a run with other settings.
        FloatingPointError: The loss is not finite any more.
    """
    averaging: Any = get_ema_multi_avg_fn(schedule.ema)  # pyright: ignore
    average = AveragedModel(network, multi_avg_fn=averaging)
    optimizers = schedule.optimizers(*split(network))
    highest = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    parts = {"network": network, "average": average}
    parts |= {type(optimizer).__name__: optimizer for optimizer in optimizers}
    done = _restored(out / STATE, settings, parts)
    average.to(fabric.device)
    model, *ready = cast("tuple[Any, ...]", fabric.setup(network, *optimizers))
    loader = DataLoader(
        patches(fabric.global_rank),
        batch_size=None,
        sampler=range(done, schedule.steps),
        num_workers=workers,
    )
    batches = cast(
        "Iterable[Batch]",
        fabric.setup_dataloaders(loader, use_distributed_sampler=False),
    )
    main = fabric.is_global_zero
    log = Writer(str(out)) if main else None
    for step, (low, high, scale) in enumerate(batches, done):
        share = schedule.share(step)
        for optimizer, rate in zip(ready, highest):
            optimizer.param_groups[0]["lr"] = share * rate
        loss = F.l1_loss(model(low, float(scale)), high)
        fabric.backward(loss)
        norm = nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
        for optimizer in ready:
            optimizer.step()
            optimizer.zero_grad()
        average.update_parameters(network)
        report = Report(step + 1, float(scale), loss.item(), norm.item())
        if not math.isfinite(report.loss + report.gradient_norm):
            raise FloatingPointError(
                f"the loss is {report.loss} at step {report.step}; start again from the"
                f" state in {out} or anew, with a lower learning rate than {schedule.learning_rate:g}"
            )
        if log is not None:
            log.add_scalar(f"loss/x{report.scale:.4g}", report.loss, report.step)
            log.add_scalar("gradient_norm", report.gradient_norm, report.step)
            log.add_scalar("learning_rate", share * highest[0], report.step)
        last = report.step == schedule.steps
        if main and (last or report.step % schedule.save_every == 0):
            made = cast(SpanPPBranches, average.module)
            write_weights(out / WEIGHTS, made, settings, report.step)
            _save(out / STATE, settings, report.step, parts)
            if judge is not None and log is not None:
                for name, value in judge(made).items():
                    log.add_scalar(name, value, report.step)
        if on_step is not None:
            on_step(report)
    if log is not None:
        log.close()


def write_weights(
    path: Path, network: SpanPPBranches, settings: Mapping[str, Any], step: int
) -> None:
    """Writes a network with its branches as safetensors, whole or not at all."""
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    metadata = {
        "format": "pt",
        "architecture": "SpanPP",
        "scales": json.dumps(network.hyper.scales),
        CONTINUOUS: json.dumps(bool(settings.get("continuous"))),
        "hyperparameters": json.dumps(asdict(network.hyper)),
        "training": json.dumps({**settings, "step": step}),
    }
    write_whole(path, save(tensors, metadata))


def _save(
    path: Path, settings: Mapping[str, Any], step: int, parts: Mapping[str, Any]
) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    partial = path.with_name(path.name + ".partial")
    torch.save({"settings": json.dumps(settings), "step": step, **state}, partial)
    partial.replace(path)


def _restored(path: Path, settings: Mapping[str, Any], parts: Mapping[str, Any]) -> int:
    """Puts a saved state into its places and returns the steps done."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    before, now = json.loads(state["settings"]), json.loads(json.dumps(settings))
    other = [k for k in {**before, **now} if before.get(k) != now.get(k)]
    if other:
        raise TrainingError(
            f"{path.parent} holds a run with {other[0]} = {before.get(other[0])}, and"
            f" {now.get(other[0])} was asked for; ask for the same, or give another"
            " folder"
        )
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])
