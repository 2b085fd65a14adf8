"""What Load SpanPP registers: its repair slider, and that it is suggested.

chaiNNer is replaced by what its two generations do; tests/hosts/chainner has the real one.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

NODES = Path(__file__).parents[3] / "nodes" / "chainner"


class BaseInput:
    optional = False

    def __init__(self, *_: object, default: float | None = None, **more: object):
        self.default = default

    def make_optional(self) -> Any:
        self.optional = True
        return self

    def with_id(self, *_: object) -> Any:
        return self

    with_docs = with_id


class SliderOfTheRelease(BaseInput):
    """v0.25.1: an error here keeps all three nodes from loading."""

    def make_optional(self) -> Any:
        raise ValueError("NumberInput and SliderInput cannot be made optional")


class SliderOfMain(BaseInput):
    """Later versions: the editor fails on a slider without value and default."""

    def make_optional(self) -> Any:
        super().make_optional()
        self.default = None
        return self


def registered(monkeypatch: pytest.MonkeyPatch, slider: type[BaseInput]) -> MagicMock:
    """Imports the node, and returns the chaiNNer that it was registered with."""
    host = MagicMock(BaseInput=BaseInput, SliderInput=slider)
    host.PthFileInput = BaseInput
    for name in (
        *("api", "nodes", "nodes.properties", "nodes.properties.inputs"),
        *("nodes.properties.outputs", "nodes.utils", "nodes.utils.utils", "packages"),
        *("packages.chaiNNer_pytorch", "packages.chaiNNer_pytorch.pytorch"),
        *("packages.chaiNNer_pytorch.settings", "ours", "ours._device", "ours._types"),
    ):
        monkeypatch.setitem(sys.modules, name, host)
    spec = importlib.util.spec_from_file_location(
        "ours.load_spanpp", NODES / "load_spanpp.py"
    )
    assert spec
    assert spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return host


@pytest.mark.parametrize("slider", [SliderOfTheRelease, SliderOfMain])
def test_repair_may_be_missing_and_is_zero_then(
    monkeypatch: pytest.MonkeyPatch, slider: type[BaseInput]
):
    host = registered(monkeypatch, slider)
    _, repair = host.io_group.register.call_args.kwargs["inputs"]
    assert (repair.optional, repair.default) == (True, 0)


def test_it_is_suggested_where_a_model_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    """As chaiNNer's own Load Model is."""
    host = registered(monkeypatch, SliderOfMain)
    host.SpanPPModelOutput().with_id().suggest.assert_called_once_with()
