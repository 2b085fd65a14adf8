"""Training steps captured as CUDA graphs: a step is one launch then, not a thousand.

A step of this small network keeps a fast GPU busy for a few milliseconds, and a processor
for several times as long: launching its kernels one by one is what it would wait for.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import first_line
from ..network.kernels import Interpolation, interpolation
from ..network.scale import grid_scale, is_exact
from .patches import Batch

WARM_UP = 2
"""Steps of each kind that run as they are before one is captured: they compile kernels,
choose convolutions and make the optimizers' state."""

Step = Callable[[Batch], tuple[Tensor, Tensor]]
"""Changes the weights; returns the loss and the norm of the gradient, both scalars."""


class _Graph(NamedTuple):
    graph: torch.cuda.CUDAGraph
    batch: Batch
    """What the graph reads."""
    results: tuple[Tensor, Tensor]
    """What it writes."""


class CapturedStep:
    """A step that is captured once per scale, and replayed from then on.

    Where that fails, steps of further scales run as they are, and the log says why.

    Args:
        step: It waits for nothing, reads no number that changes from step to step but
            tensors on the device, and leaves no gradients behind, even if it fails.
        device: A CUDA device.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step = step
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        self._done: Counter[float] = Counter()
        self._graphs: dict[float, _Graph] = {}
        self._failed: list[torch.cuda.CUDAGraph] = []
        """A capture that failed. PyTorch still refers to it."""
        self._tables: list[Interpolation] = []
        """What graphs read besides; it stays where it is as long as they do."""

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Does a step."""
        scale = float(batch.scale)
        self._done[scale] += 1
        if self._done[scale] > WARM_UP and not (scale in self._graphs or self._failed):
            try:
                self._graphs[scale] = self._captured(batch)
            except RuntimeError as error:
                message = "steps cannot become CUDA graphs, running them one by one: %s"
                logging.getLogger("spanpp").warning(message, first_line(error))
        if scale not in self._graphs:
            return self._as_it_is(batch)
        graph, (low, high, _), (value, norm) = self._graphs[scale]
        low.copy_(batch.low)
        high.copy_(batch.high)
        graph.replay()
        return value.clone(), norm.clone()

    def _as_it_is(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Runs a step on the stream of the captures, whose workspaces it makes."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            made = self._step(batch)
        current.wait_stream(self._stream)
        return made

    def _captured(self, batch: Batch) -> _Graph:
        scale = grid_scale(float(batch.scale))
        if not is_exact(scale):
            pixels = range(batch.high.shape[-1])
            table = interpolation(pixels, scale, torch.float32, self._device)
            self._tables.append(table)
        own = Batch(batch.low.clone(), batch.high.clone(), batch.scale)
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()  # what is kept of other steps cannot become the graph's
        with torch.cuda.stream(self._stream):
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            self._failed.append(graph)
            try:
                results = self._step(own)
            except BaseException:
                with suppress(RuntimeError):  # it tells of the same in vaguer words
                    graph.capture_end()
                raise
            graph.capture_end()
            self._failed.clear()
        return _Graph(graph, own, results)
