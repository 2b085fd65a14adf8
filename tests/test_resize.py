"""The one resize of this package."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spanpp_core.resize import bicubic, resize


def test_a_device_without_the_operation_resizes_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
):
    """As Apple's GPUs with PyTorch before 2.8."""
    image = torch.rand(1, 3, 12, 10)
    wanted = resize(image, (5, 7))
    plain = F.interpolate
    asked: list[Tensor] = []

    def missing_at_first(image: Tensor, *args: Any, **options: Any) -> Tensor:
        asked.append(image)
        if len(asked) == 1:
            raise NotImplementedError("aten::_upsample_bicubic2d_aa.out")
        return plain(image, *args, **options)

    monkeypatch.setattr(F, "interpolate", missing_at_first)
    torch.testing.assert_close(resize(image, (5, 7)), wanted)
    assert len(asked) == 2


def test_resize_is_clamped_and_bicubic_is_not():
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 4:] = 1
    assert bicubic(edge, (16, 16)).max() > 1
    assert resize(edge, (16, 16)).max() == 1
