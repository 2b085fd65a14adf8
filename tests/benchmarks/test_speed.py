"""The speed benchmark on GPUs other than CUDA's."""

from __future__ import annotations

import importlib
from argparse import Namespace
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the benchmarks are in the repository alone"
)


class OnAppleGPU:
    """Images that say they are there."""

    device = torch.device("mps", 0)

    def __getitem__(self, index: object) -> torch.Tensor:
        return torch.zeros(8, 8)


@pytest.mark.parametrize("half", [True, False])
def test_the_table_is_relative_to_span_and_waits_for_the_gpu(monkeypatch, model, half):
    """In float16, or in float32 where that does not run."""
    monkeypatch.syspath_prepend(str(FOLDER))
    speed = importlib.import_module("speed")
    waits: list[str] = []
    runs: list[str] = []

    def named(*names: str):
        return ((name, lambda images, name=name: runs.append(name)) for name in names)

    names = ("SPAN float32", "SPAN float16") if half else ("SPAN float32",)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waits.append("waited"))
    monkeypatch.setattr(speed.field, "span", lambda *_: named(*names))
    monkeypatch.setattr(speed.field, "original", lambda *_: named())
    monkeypatch.setattr(speed.field, "ours", lambda *_, **__: named("ours float32"))
    monkeypatch.setattr(
        speed.field,
        "peaks",
        lambda dtype, device: {f"a product, {speed.name_of(dtype)}": (id, 1)},
    )
    monkeypatch.setattr(speed.field, "warmed_up", lambda every, images: dict(every))
    given = Namespace(scale=2, compiled=False, size=(8, 8), threads=1, rounds=3)
    ratios = speed.compare(model, OnAppleGPU(), given)
    assert ratios[names[-1]].middle == 1
    assert runs == [*names, "ours float32"] * 3
    assert len(waits) == 3 * (len(names) + 1 + 2)
