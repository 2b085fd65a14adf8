"""Batches of tiles on their way through a device and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..backends import Region
from .precision import exact_float32
from .tile_plan import Plan, Tile
from .transfer import copy_streams, copy_to, moved_in, moved_out, narrower

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

    def tiles(self) -> list[Tensor]:
        """Returns what each tile reads, (in_channels, h, w), views of `source`."""
        return [self.source[frame, :, t.in_rows, t.in_cols] for frame, t in self.items]

    def batch(self) -> Tensor:
        """Returns what all tiles read, (N, in_channels, h, w): a copy if need be."""
        first, tile = self.items[0]
        if self.items == [(first + i, tile) for i in range(len(self.items))]:
            frames = slice(first, first + len(self.items))
            return self.source[frames, :, tile.in_rows, tile.in_cols]
        return torch.stack(self.tiles())

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
        region: Computes the pixels.
        plan: The plan that the jobs are part of.
        device: Where the network is.
        dtype: What the network casts its input to.
        jobs: How many there are. A single one is copied directly: to pin memory for it
            would cost more than it saves.
        meanwhile: Called once, when a GPU has its first work, before anything is written.
            Whatever it raises reaches the caller.
    """

    def __init__(
        self,
        region: Region,
        plan: Plan,
        device: torch.device,
        *,
        dtype: torch.dtype = torch.float32,
        jobs: int = 2,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        self._region = region
        self._plan = plan
        self._device = device
        self._dtype = dtype
        self._meanwhile = meanwhile
        self._streams = copy_streams(device) if jobs > 1 else None
        self.ahead = 0 if self._streams is None else 1
        """How many jobs may have begun before the oldest is ended."""

    def begin(self, job: Job) -> Callable[[], None]:
        """Begins a job and returns what ends it: waits, and puts the pixels in place."""
        x = self._moved_in(job)
        with exact_float32(self._device):
            y = self._region(x, self._plan.scale, job.items[0][1].window)
        if self._meanwhile is not None:
            self._meanwhile()
            self._meanwhile = None  # where memory ran out it is called again
        y = y.clamp_(0, 1)
        if job.target.shape[1] == 1 and y.shape[1] == 3:
            y = y.mean(1, keepdim=True, dtype=torch.float32)
        places = job.places()
        if self._streams is not None and not job.target.is_cuda:
            return moved_out(y, places, self._device, self._streams.out)
        for place, pixels in zip(places, y):
            copy_to(place, pixels)
        return lambda: None

    def _moved_in(self, job: Job) -> Tensor:
        """Returns the tiles of a job on the device, (N, in_channels, h, w)."""
        if self._streams is not None and not job.source.is_cuda:
            tiles, stream = job.tiles(), self._streams.into
            return moved_in(tiles, self._dtype, self._device, stream)
        # a result in main memory is waited for: by then the image has been copied, too
        waited = self._device.type == "cuda" and job.target.device.type == "cpu"
        # not every GPU has float64
        widest = torch.promote_types(self._dtype, torch.float32)
        dtype = narrower(job.source.dtype, widest)
        return job.batch().to(self._device, dtype=dtype, non_blocking=waited)
