"""One real ComfyUI server for the whole session, or a reason why there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import ComfyServer


def _running(base: Path, second_copy: str | None = None) -> Iterator[ComfyServer]:
    missing = [n for n in ("COMFYUI_DIR", "COMFYUI_PYTHON") if not os.environ.get(n)]
    if missing:
        pytest.skip(
            f"{' and '.join(missing)} not set: name a ComfyUI folder and its Python to"
            " test the nodes in a real server"
        )
    server = ComfyServer(
        Path(os.environ["COMFYUI_DIR"]),
        os.environ["COMFYUI_PYTHON"],
        base,
        second_copy,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    yield from _running(tmp_path_factory.mktemp("comfyui"))


@pytest.fixture
def comfy_with_two_copies(tmp_path: Path) -> Iterator[ComfyServer]:
    yield from _running(tmp_path, second_copy="a-second-copy")
