"""The repair strength of Load SpanPP in a real chaiNNer backend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from chainner_backend import MISSING, PYTHON, SOURCE, Backend, Graph
from chains import (
    MODEL,
    OUR_LOADER,
    STOCK_UPSCALE,
    UPSCALE,
    assert_same,
    picture,
    upscaling,
    written,
)
from tiny import fine_tuned

import spanpp_core

pytestmark = pytest.mark.skipif(not (SOURCE and PYTHON), reason=MISSING)


@pytest.fixture
def clean_file(tmp_path: Path) -> Path:
    """A file with a repair model beside it."""
    clean = spanpp_core.read(MODEL)
    spanpp_core.write_slim(tmp_path / "clean.safetensors", clean)
    repair = replace(clean, state_dict=fine_tuned(clean.state_dict))
    spanpp_core.write_slim(tmp_path / "clean_repair.safetensors", repair)
    return tmp_path / "clean.safetensors"


def test_editor_begins_without_repair(schemata: dict[str, dict[str, Any]]):
    """It shows ``def`` where a chain has no value, and fails where that is null."""
    repair = schemata[OUR_LOADER]["inputs"][1]
    assert (repair["def"], repair["optional"]) == (0, True)


@pytest.mark.parametrize("repair", [None, 0, 0.35, 1])
@pytest.mark.parametrize("node", [UPSCALE, STOCK_UPSCALE])
def test_repair_is_that_of_the_core(
    backend: Backend,
    graph: Graph,
    tmp_path: Path,
    clean_file: Path,
    node: str,
    repair: float | None,
):
    """None: a chain that was saved before there was a repair, run without the editor."""
    pixels = picture("RGB")
    weights = {"i0": str(clean_file), "i1": repair}
    upscaling(graph, tmp_path, pixels, 2, node=node, weights=weights)
    assert backend.run(graph) == {"type": "success"}
    model = spanpp_core.load(clean_file, repair=repair or 0)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    assert_same(
        written(tmp_path),
        255 * spanpp_core.upscale(model, x)[0].permute(1, 2, 0).numpy(),
    )


def test_without_a_repair_model_its_name_is_told(
    backend: Backend, graph: Graph, tmp_path: Path, clean_file: Path
):
    clean_file.with_name("clean_repair.safetensors").unlink()
    weights = {"i0": str(clean_file), "i1": 0.5}
    upscaling(graph, tmp_path, picture("RGB"), 2, weights=weights)
    answer = backend.run(graph)
    assert answer["type"] == "error"
    assert "as clean_repair.safetensors" in answer["exception"]
