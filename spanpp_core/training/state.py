"""What a run leaves on disk: the weights to use, and the state to resume from."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save  # pyright: ignore

from ..atomic_file import write_atomically
from ..checkpoint.metadata import metadata_of
from ..errors import TrainingError
from ..network.trainable import TrainableSpanPP

STATE = "state.ckpt"
"""What a stopped run resumes from."""

WEIGHTS = "spanpp.safetensors"
"""The result: averaged weights, to use or to train further."""

ADJUSTABLE = ("steps", "learning_rate", "tail")
"""The settings that may change when a run is taken up again."""


def write_weights(
    path: Path, network: TrainableSpanPP, settings: Mapping[str, Any], step: int
) -> None:
    """Writes a network in its training form as safetensors, whole or not at all."""
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    metadata = metadata_of(
        network.hyper,
        continuous=bool(settings.get("continuous")),
        repair=float(_is_repair(settings)),
    )
    metadata["training"] = json.dumps({**settings, "step": step})
    write_atomically(path, save(tensors, metadata))


def _is_repair(settings: Mapping[str, Any]) -> bool:
    """Whether weights were trained further on degraded photos."""
    return settings.get("degrade") == "photo" and bool(settings.get("weights"))


def write_state(
    path: Path, settings: Mapping[str, Any], step: int, parts: Mapping[str, Any]
) -> None:
    """Writes the state of the parts of a run after a step, whole or not at all."""
    state = {name: part.state_dict() for name, part in parts.items()}
    content = io.BytesIO()  # a full disk is told by what writes it, in words
    torch.save({"settings": json.dumps(settings), "step": step, **state}, content)
    write_atomically(path, content.getvalue())


def restore(path: Path, settings: Mapping[str, Any], parts: Mapping[str, Any]) -> int:
    """Puts a saved state into the parts of a run, and returns the steps done.

    How optimizers work stays as it is in the parts: on another device it is another way.

    Raises:
        TrainingError: The state is damaged, or of a run with other settings than
            `ADJUSTABLE` ones.
    """
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        before, done = json.loads(state["settings"]), int(state["step"])
    except OSError:
        raise
    except Exception as error:  # PyTorch's reader raises whatever it meets
        raise TrainingError(
            f"{path} is damaged or not the state of a training; remove it to begin"
            " anew, or give another folder"
        ) from error
    now = json.loads(json.dumps(settings))
    for key in {**before, **now}:
        if key not in ADJUSTABLE and before.get(key) != now.get(key):
            raise TrainingError(
                f"{path.parent} holds a run with {key} = {before.get(key)}, and"
                f" {now.get(key)} was asked for; ask for the same, or give another"
                " folder"
            )
    for name, part in parts.items():
        held = state[name]
        if isinstance(part, torch.optim.Optimizer):
            held |= {"param_groups": part.state_dict()["param_groups"]}
        part.load_state_dict(held)
    return done
