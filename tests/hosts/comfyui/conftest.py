"""One real ComfyUI server for the whole session, or a reason why there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import ComfyServer


@pytest.fixture(scope="session")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    missing = [n for n in ("COMFYUI_DIR", "COMFYUI_PYTHON") if not os.environ.get(n)]
    if missing:
        pytest.skip(
            f"{' and '.join(missing)} not set: name a ComfyUI folder and its Python to"
            " test the nodes in a real server"
        )
    server = ComfyServer(
        Path(os.environ["COMFYUI_DIR"]),
        os.environ["COMFYUI_PYTHON"],
        tmp_path_factory.mktemp("comfyui"),
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()
