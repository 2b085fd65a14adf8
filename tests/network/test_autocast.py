"""Autocast is disabled where it is enabled, and left alone where there is none."""

from __future__ import annotations

import pytest
import torch

from spanpp_core.network.autocast import autocast_disabled


@pytest.mark.parametrize(
    ("device", "answer", "disabled"),
    [
        ("mps", False, False),
        ("mps", TypeError("takes no arguments"), False),  # before PyTorch 2.4
        ("privateuseone", RuntimeError("no autocast for this device"), False),
        ("cuda", TypeError("takes no arguments"), True),
        ("cuda", True, True),
    ],
)
def test_it_is_disabled_only_where_it_may_be_enabled(
    monkeypatch, device, answer, disabled
):
    """PyTorch before 2.5 refuses even to disable it on Apple's GPUs."""
    asked: list[tuple[str, bool]] = []

    class Autocast:
        def __init__(self, device_type: str, *, enabled: bool) -> None:
            asked.append((device_type, enabled))

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    def enabled(device_type: str) -> bool:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(torch, "autocast", Autocast)
    monkeypatch.setattr(torch, "is_autocast_enabled", enabled)
    with autocast_disabled(device):
        pass
    assert asked == ([(device, False)] if disabled else [])
