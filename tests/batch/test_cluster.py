"""A Ray cluster of two workers: the same files, whoever is killed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from front_door import spanpp
from PIL import Image

import spanpp_core
from spanpp_core.batch import cluster
from spanpp_core.batch.places import Place

pytest.importorskip("ray.data", reason="ray is missing: pip install 'spanpp[ray]'")

WORKERS = ["--ray", "--workers", "2", "--precision", "fp32"]


@pytest.fixture(scope="module")
def two_cores():
    """A cluster of this machine's, with one core for each of two workers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # as urgent as what watches them
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    import ray  # noqa: PLC0415

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield ray
    ray.shutdown()


def crops(folder: Path, count: int, size: tuple[int, int] = (64, 48)) -> Path:
    """Writes parts of the bundled photo, each another."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with Image.open(spanpp_core.bundled_photo()) as photo:
        for i in range(count):
            x, y = (int(rng.integers(0, b - a)) for a, b in zip(size, photo.size))
            part = photo.crop((x, y, x + size[0], y + size[1]))
            part.save(folder / f"{i:03}.png")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def in_one_process(source: Path, out: Path, *options: object) -> dict[str, bytes]:
    assert spanpp("upscale", source, "-o", out, "--precision", "fp32", *options) == 0
    return files(out)


def when(ready: Callable[[], Any], then: Callable[[], None]) -> threading.Thread:
    """Does something as soon as something else holds, beside what runs."""

    def watch() -> None:
        deadline = time.monotonic() + 120
        while not ready() and time.monotonic() < deadline:
            time.sleep(0.002)
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def worker_processes() -> list[int]:
    """The processes below this one that hold the model."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended
        parents[int(status.parent.name)] = int(fields[1])

    def ours(process: int) -> bool:
        while process not in (0, os.getpid()):
            process = parents.get(process, 0)
        return process != 0

    names = {each: Path(f"/proc/{each}/cmdline") for each in parents if ours(each)}
    return [each for each, name in names.items() if b"MapWorker" in name.read_bytes()]


def test_results_are_those_of_one_process(tmp_path, clean_file, two_cores, capsys):
    source = crops(tmp_path / "in", 24)
    deep = np.random.default_rng(1).integers(0, 2**16, (40, 30, 3)).astype(np.uint16)
    pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").write_to_file(
        str(source / "deep.png")
    )
    (source / "sub").mkdir()
    Image.open(source / "000.png").save(source / "sub" / "photo.jpg")
    (source / "text.png").write_text("not an image")
    options = ["-m", clean_file, "--repair", 0.5, "--fit", "100x110"]
    arguments = ["upscale", source, *options, "--precision", "fp32", "-o"]
    assert spanpp(*arguments, tmp_path / "one") == 1
    alone = "".join(capsys.readouterr()).replace(str(tmp_path / "one"), "OUT")
    assert spanpp(*arguments, tmp_path / "two", *WORKERS) == 1
    together = "".join(capsys.readouterr()).replace(str(tmp_path / "two"), "OUT")
    assert len(files(tmp_path / "one")) == 26
    assert files(tmp_path / "two") == files(tmp_path / "one")
    assert sorted(together.splitlines()) == sorted(alone.splitlines())


def test_a_killed_worker_loses_nothing(tmp_path, two_cores):
    source, out = crops(tmp_path / "in", 16, (120, 90)), tmp_path / "two"
    expected = in_one_process(source, tmp_path / "one", "-s", 4)
    killed: list[int] = []

    def kill_one() -> None:
        killed.extend(worker_processes()[:1])
        os.kill(killed[0], signal.SIGKILL)

    thread = when(lambda: list(out.glob("0*.png")), kill_one)
    assert spanpp("upscale", source, "-o", out, "-s", 4, *WORKERS) == 0
    thread.join()
    assert killed
    found = {name: data for name, data in files(out).items() if name[0] != "."}
    assert found == expected


def test_a_restart_goes_on_where_a_killed_run_stopped(tmp_path, two_cores, capsys):
    source, out = crops(tmp_path / "in", 24, (120, 90)), tmp_path / "two"
    expected = in_one_process(source, tmp_path / "one", "-s", 4)
    address = two_cores.get_runtime_context().gcs_address
    arguments = ["upscale", source, "-o", out, "-s", "4", *WORKERS]
    arguments[arguments.index("--ray")] = f"--ray={address}"
    code = "from spanpp_core.command import main; main()"
    run = subprocess.Popen([sys.executable, "-c", code, *arguments])
    deadline = time.monotonic() + 120
    while len(list(out.glob("0*.png"))) < 3:
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    run.kill()
    run.wait()
    while worker_processes():  # those of a run that is gone are ended by Ray
        assert time.monotonic() < deadline
        time.sleep(0.1)
    before = {path: path.stat().st_mtime_ns for path in out.glob("0*.png")}
    assert 3 <= len(before) < len(expected)
    capsys.readouterr()
    assert spanpp("upscale", source, "-o", out, "-s", 4, *WORKERS) == 0
    assert capsys.readouterr().out.count("left as it is") == len(before)
    assert all(path.stat().st_mtime_ns == made for path, made in before.items())
    found = {name: data for name, data in files(out).items() if name[0] != "."}
    assert found == expected


class Mortal(cluster.Worker):
    """Dies of one file, as of a fault in a library or for want of memory."""

    def _upscaled(self, source: Place, result: Place):
        if source.name == "001.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._upscaled(source, result)


def test_a_file_that_kills_its_worker_is_given_up(
    tmp_path, weights, two_cores, monkeypatch, capsys
):
    # workers cannot import this file
    two_cores.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(cluster, "Worker", Mortal)
    monkeypatch.setattr(cluster, "MOST_PARTS", 1)  # all with the deadly one
    source, out = crops(tmp_path / "in", 4), tmp_path / "out"
    assert spanpp("upscale", source, "-o", out, "-m", weights, *WORKERS) == 1
    assert set(files(out)) == {"000.png", "002.png", "003.png"}
    said = capsys.readouterr().err
    assert f"spanpp: {source / '001.png'}: its worker died 3 times" in said


def test_urls_are_listed_fetched_and_put(tmp_path, weights, two_cores, capsys):
    source, out = crops(tmp_path / "in #1", 2), tmp_path / "out %"
    (source / "text.png").write_text("not an image")
    (source / ".hidden.png").write_text("hidden")
    arguments = ["upscale", source.as_uri(), "-o", out.as_uri(), "-m", weights]
    assert spanpp(*arguments, *WORKERS) == 1
    one = tmp_path / "one"
    assert spanpp("upscale", source, "-o", one, "-m", weights, *WORKERS[3:]) == 1
    assert files(out) == files(one)
    said, failed = capsys.readouterr()
    assert f"{source.as_uri()}/000.png 64x48 -> {out.as_uri()}/000.png 128x96" in said
    assert f"spanpp: {source.as_uri()}/text.png: damaged or not an image" in failed
    changed = (out / "000.png").stat().st_mtime_ns
    assert spanpp(*arguments, *WORKERS) == 1
    assert (out / "000.png").stat().st_mtime_ns == changed
    assert f"{out.as_uri()}/000.png exists, left as it is" in capsys.readouterr().out
