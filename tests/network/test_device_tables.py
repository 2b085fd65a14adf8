"""Small tables are sent without a wait for what a GPU still computes, and once."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from spanpp_core.network import device_tables, kernels
from spanpp_core.network.kernels import interpolation
from spanpp_core.network.scale import Window, grid_scale

CUDA = torch.device("cuda", 0)


def test_a_table_goes_to_cuda_from_pinned_memory(monkeypatch):
    """From any other the copy would first wait."""
    asked: list[object] = []

    def pinned(table: Tensor) -> Tensor:
        asked.append("pinned")
        return table

    def to(table: Tensor, device: torch.device, *, non_blocking: bool = False):
        asked.append((device, non_blocking))
        return table

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Tensor, "pin_memory", pinned)
    monkeypatch.setattr(Tensor, "to", to)
    device_tables.to_device(torch.zeros(3), CUDA)
    assert asked == ["pinned", (CUDA, True)]


@pytest.mark.parametrize("scale", [2.73, 3.7])
def test_the_tables_of_a_scale_are_sent_once_for_all_tiles(model, monkeypatch, scale):
    sent: list[torch.Size] = []

    def noted(table: Tensor, device: torch.device) -> Tensor:
        sent.append(table.shape)
        return table

    monkeypatch.setattr(kernels, "to_device", noted)
    interpolation.cache_clear()
    network, grid = model.at_scale(scale).model, grid_scale(scale)
    window = Window(0, 0, range(20), range(30))
    for _ in range(3):
        network.region(torch.rand(1, 3, 12, 14), Fraction(grid), window)
    assert len(sent) == 2 * 2, "a matrix and an index along each axis"
