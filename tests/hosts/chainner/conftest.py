"""A backend with our nodes, shared by all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chainner_backend import (
    Backend,
    Graph,
    running_backend,
    spanpp_chainner,
    throwaway_python,
)


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of chaiNNer's into which our command has put the nodes."""
    python = throwaway_python(tmp_path_factory.mktemp("python") / "venv")
    done = spanpp_chainner("install", "--python", python)
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="session")
def backend(
    python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    folder = tmp_path_factory.mktemp("backend") / "data"
    with running_backend(python, folder) as running:
        yield running


@pytest.fixture(scope="session")
def schemata(backend: Backend) -> dict[str, dict[str, Any]]:
    return {node["schemaId"]: node for node in backend.get("/nodes")["nodes"]}


@pytest.fixture
def graph(schemata: dict[str, dict[str, Any]]) -> Graph:
    return Graph(schemata)
