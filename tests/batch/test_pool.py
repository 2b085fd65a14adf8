"""Sizing the workers, and what is said without a cluster; none is needed here."""

from __future__ import annotations

import importlib

import pytest
from front_door import spanpp
from PIL import Image

from spanpp_core.batch.cluster import Ledger, Pool


@pytest.mark.parametrize(
    ("pool", "resources", "expected"),
    [
        (Pool(), {"CPU": 2.0}, (1, 2, 0)),
        (Pool(), {"CPU": 64.0}, (16, 4, 0)),
        (Pool(workers=2), {"CPU": 2.0}, (2, 1, 0)),
        (Pool(workers=4), {"CPU": 2.0}, (4, 0.5, 0)),
        (Pool(workers=1), {"CPU": 64.0}, (1, 4, 0)),
        # files are read and written by the processor: a GPU waits for one core alone
        (Pool(), {"CPU": 16.0, "GPU": 2.0}, (2, 4, 1)),
        (Pool(), {"CPU": 4.0, "GPU": 4.0}, (4, 1, 1)),
        (Pool(gpus_per_worker=0.5), {"CPU": 16.0, "GPU": 2.0}, (4, 4, 0.5)),
        (Pool(workers=1), {"CPU": 16.0, "GPU": 2.0}, (1, 4, 1)),
        (Pool(device="cpu"), {"CPU": 16.0, "GPU": 2.0}, (4, 4, 0)),
    ],
)
def test_workers_follow_from_the_cluster(pool, resources, expected):
    assert pool.shares(resources) == expected


@pytest.mark.parametrize("pool", [Pool(device="cuda"), Pool(gpus_per_worker=1)])
def test_gpus_that_are_not_there_are_told(pool):
    with pytest.raises(ValueError, match="has 0 GPUs, and a worker was to have 1;"):
        pool.shares({"CPU": 4.0})


def test_a_worker_chooses_among_its_own_gpus_only():
    with pytest.raises(ValueError, match="with --ray name the kind, cuda:"):
        Pool(device="cuda:1").shares({"CPU": 4.0, "GPU": 2.0})


def test_a_file_that_is_begun_again_is_counted():
    ledger = Ledger()
    assert [ledger.begin("a"), ledger.begin("b"), ledger.begin("a")] == [0, 0, 1]
    ledger.end("a")
    assert ledger.begin("a") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["in.png", "-o", "out", "--ray"], "install 'spanpp[ray]'"),
        (["in.png", "--ray", "-o", "out"], "install 'spanpp[ray]'"),
        (["in.png", "-o", "out", "--ray", "--workers", "0"], "--workers"),
        (["in.png", "-o", "out", "--ray", "-m", "none.pth"], "no such file"),
        (["s3://a/in", "-o", "out", "--ray"], "install 'spanpp[ray]'"),
        (["s3://a/in", "-o", "out"], "need --ray"),
        (["in.png", "-o", "s3://a/out"], "need --ray"),
        (["in.png", "-o", "out", "--workers", "2"], "need --ray"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, weights, options, message):
    find = importlib.import_module

    def missing(name: str, package: str | None = None):
        if name.partition(".")[0] in ("ray", "pyarrow"):
            raise ImportError(name, name=name)
        return find(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("in.png")
    given = [] if "-m" in options else ["-m", weights]
    assert spanpp("upscale", *options, *given) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("spanpp: ")
    assert message in line
