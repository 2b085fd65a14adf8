"""The pack, loaded into a stand-in for each ComfyUI generation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stand_in_host import Host, stand_in_host


@pytest.fixture(scope="module", params=["older", "newer"])
def generation(request: pytest.FixtureRequest) -> Iterator[Host]:
    with stand_in_host(Path(), newer=request.param == "newer") as host:
        yield host


@pytest.fixture
def host(generation: Host, tmp_path: Path) -> Host:
    generation.forget(tmp_path / "output")
    return generation
