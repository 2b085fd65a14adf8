"""What a device is given to train with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import training_network

from spanpp_core.training.recipe import Recipe

run = pytest.importorskip("spanpp_core.training.run")


class OnlyMoved:
    """Photos that note where they are."""

    at = "main memory"

    def to(self, device: torch.device) -> OnlyMoved:
        self.at = device.type
        return self


@pytest.mark.parametrize(
    ("device", "degrade", "processes", "expected"),
    [
        ("cpu", "none", 1, ("main memory", 0, False, 10)),
        ("mps", "none", 1, ("main memory", 4, False, 10)),
        ("cuda", "none", 1, ("cuda", 0, True, 100)),
        ("cuda", "none", 2, ("cuda", 0, False, 100)),
        ("cuda", "photo", 1, ("main memory", 4, True, 100)),
    ],
)
def test_a_gpu_makes_its_patches_or_has_processes_for_them_and_is_rarely_read(
    monkeypatch, device, degrade, processes, expected
):
    """One GPU alone replays its steps as graphs."""
    given = {}

    def train(network, patches, schedule, out, **how) -> int:
        given.update(how, photos=patches(0).photos.at, log_every=schedule.log_every)
        return 0

    monkeypatch.setattr(run.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(run.loop, "train", train)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(
        Recipe, "patches", lambda self, photos, rank: SimpleNamespace(photos=photos)
    )
    run.train_recipe(
        Recipe(degrade=degrade),
        training_network(),
        OnlyMoved(),
        Path("out"),
        fabric=SimpleNamespace(device=torch.device(device), world_size=processes),
        settings={},
        save_every=500,
    )
    names = ("photos", "workers", "captured", "log_every")
    assert tuple(given[name] for name in names) == expected
    assert torch.backends.cudnn.benchmark == (device == "cuda")
