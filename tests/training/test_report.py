"""What is said of a training's steps."""

from __future__ import annotations

import pytest
import torch

report = pytest.importorskip("spanpp_core.training.report")


def test_a_report_holds_the_mean_loss_of_each_scale_since_the_last():
    seen = [(1.0, 0.5, 3.0), (2.0, 0.25, 4.0), (1.0, 1.5, 2.0)]
    tensors = [(s, torch.tensor(v), torch.tensor(n)) for s, v, n in seen]
    found = report.report_of(30, tensors, 0.1)
    assert found.losses == {1.0: 1.0, 2.0: 0.25}
    assert found.gradient_norm == 4.0
    assert found.loss == 0.625
