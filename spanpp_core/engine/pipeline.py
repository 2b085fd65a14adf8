"""Batches of tiles on their way through a device and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..backends import Region
from .plan import Plan, Tile

SMALLEST_TILE = 16
"""Edge in pixels below which running out of memory is final."""


@dataclass(frozen=True)
class Job:
    """Tiles that run as one batch: equal input shapes, equal windows."""

    source: Tensor  # (N, in_channels, H, W)
    target: Tensor  # (N, 3 or 1, OH, OW)
    items: Sequence[tuple[int, Tile]]  # frame and tile

    @property
    def pixels(self) -> int:
        """The input pixels that are read."""
        height, width = self.items[0][1].in_shape
        return len(self.items) * height * width

    def tiles(self, out: Tensor | None = None) -> Tensor:
        """Returns what is read, (N, in_channels, h, w), in ``out`` if given."""
        parts = [self.source[frame, :, t.in_rows, t.in_cols] for frame, t in self.items]
        return torch.stack(parts) if out is None else torch.stack(parts, out=out)

    def places(self) -> list[Tensor]:
        """Returns where the pixels of each tile go, (3 or 1, h, w), views of `target`."""
        return [
            self.target[frame, :, t.out_rows, t.out_cols] for frame, t in self.items
        ]

    def smaller(self, plan: Plan) -> list[Job]:
        """Two jobs that do the same in two steps; empty if this is the smallest."""
        if len(self.items) > 1:
            middle = len(self.items) // 2
            parts = [self.items[:middle], self.items[middle:]]
            return [Job(self.source, self.target, items) for items in parts]
        frame, tile = self.items[0]
        if max(len(tile.core_rows), len(tile.core_cols)) <= SMALLEST_TILE:
            return []
        halves = plan.halves(tile)
        return [Job(self.source, self.target, [(frame, half)]) for half in halves]


class Pipeline:
    """Runs jobs; on CUDA one is copied out while the next one is computed.

    Args:
        region: What the pixels are computed by.
        plan: What the jobs are part of.
        device: Where.
    """

    def __init__(self, region: Region, plan: Plan, device: torch.device) -> None:
        self._region = region
        self._plan = plan
        self._device = device
        self.ahead = 1 if device.type == "cuda" else 0
        """How many jobs may have begun before the oldest is ended."""
        self._streams: list[torch.cuda.Stream] = []
        if device.type == "cuda":
            self._streams = [torch.cuda.Stream(device) for _ in ("in", "out")]

    def begin(self, job: Job) -> Callable[[], None]:
        """Begins a job and returns what ends it: waits, and puts the pixels in place."""
        x = self._moved_in(job)
        y = self._region(x, self._plan.scale, job.items[0][1].window).clamp_(0, 1)
        if job.target.shape[1] == 1 and y.shape[1] == 3:
            y = y.mean(1, keepdim=True)
        if not self._streams or job.target.is_cuda:
            for place, pixels in zip(job.places(), y):
                place.copy_(pixels)
            return lambda: None
        return self._moved_out(y, job)

    def _moved_in(self, job: Job) -> Tensor:
        """Returns the tiles of a job on the device."""
        if not self._streams or job.source.is_cuda:
            return job.tiles().to(self._device)
        # memory that is locked is copied without the processor waiting for it
        height, width = job.items[0][1].in_shape
        shape = (len(job.items), job.source.shape[1], height, width)
        locked = torch.empty(shape, dtype=job.source.dtype, pin_memory=True)
        job.tiles(locked)
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._streams[0]):
            x = locked.to(self._device, non_blocking=True)
        computing.wait_stream(self._streams[0])
        x.record_stream(computing)
        return x

    def _moved_out(self, y: Tensor, job: Job) -> Callable[[], None]:
        """Begins to copy pixels to main memory and returns what ends it."""
        places = job.places()
        y = y.to(job.target.dtype)
        leaving = self._streams[1]
        leaving.wait_stream(torch.cuda.current_stream(self._device))
        staged: list[tuple[Tensor, Tensor]] = []
        with torch.cuda.stream(leaving):
            for place, pixels in zip(places, y):
                if place.is_contiguous() and place.is_pinned():
                    place.copy_(pixels, non_blocking=True)
                else:
                    locked = torch.empty(
                        pixels.shape, dtype=pixels.dtype, pin_memory=True
                    )
                    locked.copy_(pixels, non_blocking=True)
                    staged.append((place, locked))
            done = leaving.record_event()
        y.record_stream(leaving)

        def end() -> None:
            done.synchronize()
            for place, locked in staged:
                place.copy_(locked)

        return end
