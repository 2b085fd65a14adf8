"""One scale, tile by tile: tiles in, one preallocated output, nothing blended."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..backends import is_out_of_memory
from ..descriptor import SpanPPDescriptor
from ..network.autocast import autocast_disabled
from ..network.end_layers import end_dtype
from ..network.scale import Window
from .arguments import check_image, result_of
from .dynamic_range import extremes
from .memory import empty_cache
from .pipeline import SMALLEST_TILE, Job, Pipeline
from .tile_plan import Plan, Tile
from .tile_size import pixels_at_once

Progress = Callable[[int, int], None]
"""
Called after each step with the tiles done and the tiles in all (which grows when one
has to be cut smaller). Whatever it raises stops the run and reaches the caller.
"""


def upscale_tiled(
    model: SpanPPDescriptor,
    image: Tensor,
    tile: int,
    on_progress: Progress | None = None,
    *,
    out: Tensor | None = None,
    memory: int | None = None,
    free: Callable[[], int],
    meanwhile: Callable[[], None] | None = None,
) -> Tensor:
    """Upscales images by the scale that a model is bound to; see `upscale`.

    Args:
        model: At the scale, and in the dtype, to run.
        image: (N, C, H, W).
        tile: Edge of the tiles in input pixels without their halo, see `Plan.tiles`.
        on_progress: Called after each batch of tiles.
        out: Where to write, (N, C, round(H*s), round(W*s)) of any strides and device.
        memory: Bytes that the work may take beside weights, input and output.
        free: Says how many bytes are free on the device; it takes a GPU longer to say
            than to upscale a small image, and is called for several tiles only.
        meanwhile: As for `Pipeline`.
    """
    check_image(model, image)
    height, width = image.shape[2:]
    plan = Plan.of(height, width, model.scale, model.model.halo)
    out = result_of(model, image, (plan.out_height, plan.out_width), out)
    tiles = list(plan.tiles(tile))
    fit = pixels_at_once(model, memory, free()) if len(image) * len(tiles) > 1 else 1
    jobs: deque[Job] = deque()
    with torch.no_grad(), autocast_disabled(model.device.type):
        for source, target in _planes(model, image, out):
            jobs += _batches(source, target, tiles, fit)
        network, backends = model.model, model.backends
        work = sum(job.pixels for job in jobs)
        region = backends.region(network, model.backend, work)
        try:
            pipeline = Pipeline(
                region,
                plan,
                model.device,
                dtype=end_dtype(model.dtype),
                jobs=len(jobs),
                meanwhile=meanwhile,
            )
            _run(pipeline, plan, jobs, model.device, on_progress)
        finally:
            backends.trim()
    return out


def _planes(
    model: SpanPPDescriptor, image: Tensor, out: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields what the network is given and where the result goes, colour then alpha."""
    channels = image.shape[1]
    if channels == model.input_channels:
        yield image, out
        return
    colours = 1 if channels < 3 else 3
    yield image[:, :colours].expand(-1, 3, -1, -1), out[:, :colours]
    if channels > colours:
        alpha = image[:, colours:]
        least, largest = extremes(alpha)
        if least == largest:
            out[:, colours:] = alpha[:1, :, :1, :1].clamp(0, 1)
        else:
            yield alpha.expand(-1, 3, -1, -1), out[:, colours:]


def _batches(
    source: Tensor, target: Tensor, tiles: Sequence[Tile], fit: int
) -> list[Job]:
    """Groups the tiles of all frames into batches that read at most ``fit`` pixels."""
    alike: dict[tuple[tuple[int, int], Window], list[tuple[int, Tile]]] = {}
    for frame in range(len(source)):
        for tile in tiles:
            alike.setdefault((tile.in_shape, tile.window), []).append((frame, tile))
    jobs: list[Job] = []
    for ((height, width), _), items in alike.items():
        size = max(1, fit // (height * width))
        for start in range(0, len(items), size):
            jobs.append(Job(source, target, items[start : start + size]))
    # from the first frame's top to the last one's bottom, for whoever watches
    return sorted(
        jobs, key=lambda job: (job.items[0][0], job.items[0][1].out_rows.start)
    )


def _run(
    pipeline: Pipeline,
    plan: Plan,
    jobs: deque[Job],
    device: torch.device,
    on_progress: Progress | None,
) -> None:
    """Runs every job, cutting those that do not fit into memory."""
    done, too_many = 0, math.inf
    begun: deque[tuple[Job, Callable[[], None]]] = deque()

    def end(left: int) -> None:
        nonlocal done
        while len(begun) > left:
            job, finish = begun.popleft()
            finish()
            done += len(job.items)
            if on_progress is not None:
                waiting = sum(len(job.items) for job in jobs)
                waiting += sum(len(job.items) for job, _ in begun)
                on_progress(done, done + waiting)

    while jobs:
        job = jobs.popleft()
        failure = "as a larger one did"
        if job.pixels < too_many:
            try:
                begun.append((job, pipeline.begin(job)))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                failure = str(error)
            else:
                end(pipeline.ahead)
                continue
        smaller = job.smaller(plan)
        if not smaller:
            raise MemoryError(
                f"out of memory with a tile of {SMALLEST_TILE} pixels ({failure}); free"
                f" some memory on {device}, or use another device"
            )
        too_many = min(too_many, job.pixels)
        jobs.extendleft(reversed(smaller))
        end(0)
        empty_cache(device)
    end(0)
