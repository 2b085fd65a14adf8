"""A real traiNNer-redux with our folder merged, or a reason why there is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from .merged import ITERATIONS, ROOT, Merged


@pytest.fixture(scope="session")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Merged:
    missing = [n for n in ("TRAINNER_DIR", "TRAINNER_PYTHON") if not os.environ.get(n)]
    if missing:
        pytest.skip(
            f"{' and '.join(missing)} not set: name a traiNNer-redux checkout and a"
            " Python with its dependencies to train in it"
        )
    checkout = Path(os.environ["TRAINNER_DIR"])
    folder = tmp_path_factory.mktemp("trainner")
    shutil.copytree(checkout, folder / "trainer", ignore=shutil.ignore_patterns(".git"))
    shutil.copytree(
        ROOT / "traiNNer", folder / "trainer" / "traiNNer", dirs_exist_ok=True
    )
    return Merged(folder, os.environ["TRAINNER_PYTHON"])


@pytest.fixture(scope="session")
def fidelity(trainer: Merged) -> str:
    options = trainer.config("fidelity", iterations=ITERATIONS, name="fidelity")
    done = trainer.start("train.py", options)
    assert "End of training" in done.stdout, done.stdout
    return "fidelity"
