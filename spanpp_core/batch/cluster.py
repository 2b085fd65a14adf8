"""Upscaling many files on the workers of a Ray cluster.

Ray Data hands out the files. When a worker dies, it starts another and hands the file out
again. A result appears whole or not at all, so doing a file twice, or starting a run
again, does no harm.
"""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..checkpoint import Checkpoint
from ..descriptor import load
from ..devices import device_named
from ..errors import BatchError, first_line, last_line
from ..optional import require
from .pairs import Pair
from .places import Place
from .upscaler import (
    FAILURES,
    Outcome,
    UpscaleOptions,
    Upscaler,
    already_there,
    failure,
)

CORES_PER_WORKER = 4
"""Beyond these, another worker gains more than another core for the same one."""

DEATHS = 3
"""Times that a file may take its worker along before it is given up."""

MOST_PARTS = 1000
"""Parts that the files are handed out in; to Ray, each is an object and a task."""


@dataclass(frozen=True)
class Pool:
    """The workers asked for; None leaves a choice to the cluster."""

    workers: int | None = None
    gpus_per_worker: float | None = None
    device: str | None = None

    def shares(self, resources: Mapping[str, float]) -> tuple[int, float, float]:
        """Returns how many workers to start, and the cores and GPUs of each.

        Raises:
            BatchError: The cluster does not have them.
        """
        if self.device is not None and ":" in self.device:
            kind = self.device.partition(":")[0]
            raise BatchError(
                f"the device {self.device} is one of a machine's; with --ray name the"
                f" kind, {kind}: Ray gives each worker a GPU of its own"
            )
        gpus = self.gpus_per_worker
        if gpus is None:
            gpus = 0.0 if self.device == "cpu" or not resources.get("GPU") else 1.0
        cores = resources.get("CPU", 0.0)
        if gpus > resources.get("GPU", 0.0) or (gpus == 0 and self.device == "cuda"):
            raise BatchError(
                f"the Ray cluster has {resources.get('GPU', 0):g} GPUs, and a worker was"
                f" to have {gpus or 1:g}; name no device, and no GPUs per worker"
            )
        if self.workers is not None:
            count = self.workers
        elif gpus:
            count = int(resources["GPU"] / gpus)
        else:
            count = max(1, int(cores / CORES_PER_WORKER))
        own = min(CORES_PER_WORKER, cores / count)
        return count, int(own) if own >= 1 else own, gpus


def outcomes(
    address: str,
    pool: Pool,
    checkpoint: Checkpoint,
    pairs: Sequence[tuple[str, str]],
    options: UpscaleOptions,
) -> Iterator[Outcome]:
    """Upscales files on a cluster and yields the outcome of each, in any order.

    Args:
        address: In Ray's format; if empty, the value of ``RAY_ADDRESS``, or the cluster
            running on this machine, or a new one for this run.
        pool: The workers wanted.
        checkpoint: The model.
        pairs: The result of `pairs`. Plain paths must exist on every machine.
        options: As for `Upscaler`.

    Raises:
        MissingPackageError: Ray is not installed.
        BatchError: The cluster cannot be reached, is too small, or gave up.
    """
    files = [
        {
            "source": Place(source).from_anywhere().given,
            "result": Place(result).from_anywhere().given,
        }
        for source, result in pairs
    ]
    with _connected(address) as ray, _quiet(ray):
        count, cores, gpus = pool.shares(ray.cluster_resources())
        ledger = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Ledger)
        parts = ray.data.from_items(
            files, override_num_blocks=min(len(files), MOST_PARTS)
        )
        done = parts.map(
            Worker,
            fn_constructor_args=(checkpoint, options, pool.device, ledger.remote()),
            # files queued at a worker would wait behind a long video
            compute=ray.data.ActorPoolStrategy(
                size=min(count, len(files)), max_tasks_in_flight_per_actor=2
            ),
            num_cpus=cores,
            num_gpus=gpus,
        )
        for row in done.iter_rows():
            yield Outcome(row["line"], row["failed"])


class Ledger:
    """Counts how often each file was begun: one that is begun again killed its worker."""

    def __init__(self) -> None:
        """Begins with none."""
        self._deaths: dict[str, int] = {}

    def begin(self, name: str) -> int:
        """Notes that a file is begun; returns how often it was begun and not ended."""
        self._deaths[name] = self._deaths.get(name, -1) + 1
        return self._deaths[name]

    def end(self, name: str) -> None:
        """Forgets a file."""
        self._deaths.pop(name, None)


class Worker:
    """A process with a copy of the model; it upscales one file per call."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        options: UpscaleOptions,
        device: str | None,
        ledger: Any,
    ) -> None:
        """Loads the model onto the device that Ray assigned to this process."""
        model = load(checkpoint, device=device_named(device))
        self._overwrite = options.overwrite
        self._upscaler = Upscaler(model, replace(options, overwrite=True))
        self._ledger = ledger
        self._wait: Callable[[Any], int] = importlib.import_module("ray").get

    def __call__(self, file: dict[str, str]) -> dict[str, Any]:
        """Upscales ``source`` to ``result`` and returns the outcome."""
        source, result = file["source"], file["result"]
        try:
            if self._wait(self._ledger.begin.remote(result)) >= DEATHS:
                raise BatchError(f"{source}: its worker died {DEATHS} times")
            outcome = self._upscaled(Place(source), Place(result))
        except FAILURES as error:
            outcome = failure(error)
        self._ledger.end.remote(result)
        return {"line": outcome.line, "failed": outcome.failed}

    def _upscaled(self, source: Place, result: Place) -> Outcome:
        if source == result:
            raise BatchError(f"{source} would replace itself; choose another folder")
        if not self._overwrite and result.is_file():
            return already_there(result)
        with tempfile.TemporaryDirectory(prefix="spanpp-") as folder:
            made = result.path(Path(folder, "out"))
            pair = Pair(source.fetched(Path(folder, "in")), made)
            outcome = self._upscaler.file(pair, _unseen)
            if not outcome.failed:
                result.put(made)
        line = outcome.line.replace(str(pair.source), source.given)
        return replace(outcome, line=line.replace(str(made), result.given))


def _unseen(_done: int, _total: int) -> None:
    """Progress within a file stays on the worker."""


@contextmanager
def _connected(address: str) -> Generator[Any]:
    """Connects to a cluster. One that had to be started is shut down at the end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # says nothing to anyone
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # nor what is put right
    ray = require("A Ray cluster", "ray", "ray", "pyarrow")
    require("A Ray cluster", "ray", "ray.data")
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(
            address=address or None,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        raise BatchError(
            f"no Ray cluster at {address or 'the usual place'} ({first_line(error)})"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _quiet(ray: Any) -> Generator[None]:
    """Silences Ray Data, and turns its failure into one line."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        yield
    except ray.exceptions.RayError as error:
        raise BatchError(f"Ray gave up: {last_line(error)}") from error
