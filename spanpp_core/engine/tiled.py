"""One scale, tile by tile: tiles in, one preallocated output, nothing blended."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..backends import fastest, is_out_of_memory, map_channels
from ..descriptor import SpanPPDescriptor
from ..network.autocast import autocast_disabled
from ..network.end_layers import end_dtype
from ..network.scale import Window
from .dynamic_range import extremes
from .memory import empty_cache, pixels_that_fit, working_bytes
from .pipeline import SMALLEST_TILE, Job, Pipeline
from .plan import Plan, Tile

Progress = Callable[[int, int], None]
"""
Called after each step with the tiles done and the tiles in all (which grows when one
has to be cut smaller). Whatever it raises stops the run and reaches the caller.
"""

LARGE_TILE = 512
"""Edge in pixels that keeps any device busy: not worth evicting anything for more."""


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
    fit = _fit(model, memory, free()) if len(image) * len(tiles) > 1 else 1
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


def result_channels(model: SpanPPDescriptor, channels: int) -> int:
    """Returns the channels of what `upscale` makes of an image of ``channels``."""
    return channels if model.input_channels == 3 else 3


def result_of(
    model: SpanPPDescriptor, image: Tensor, sides: tuple[int, int], out: Tensor | None
) -> Tensor:
    """Returns ``out`` for the result of an image, or a new tensor of the image's kind.

    Raises:
        ValueError: ``out`` has not the shape (N, C, *sides), is not floating point, or
            lies in the memory of the image, which is read until the last tile.
    """
    shape = (len(image), result_channels(model, image.shape[1]), *sides)
    if out is None:
        return image.new_empty(shape)
    if out.shape != shape:
        raise ValueError(f"out has the shape {tuple(out.shape)}; expected {shape}")
    if not out.is_floating_point():
        raise ValueError(f"out is {out.dtype}; expected floating point")
    if _overlap(out, image):
        raise ValueError(
            "out lies in the memory of the image; give one of its own, or none"
        )
    return out


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Whether what lies from the first to the last value of two tensors overlaps."""
    if one.device != other.device:
        return False
    try:
        (start, end), (first, last) = map(_addresses, (one, other))
    except RuntimeError:  # DirectML's tensors have none
        return False
    return start < last and first < end


def _addresses(x: Tensor) -> tuple[int, int]:
    """Returns the address of the first byte of a tensor, and of the one behind it."""
    steps = sum((n - 1) * step for n, step in zip(x.shape, x.stride()))
    start = x.data_ptr()
    return start, start + (steps + 1) * x.element_size()


def auto_tile(
    model: SpanPPDescriptor, memory: int | None = None, *, free: int | None = None
) -> int:
    """Returns the edge of the tiles that `upscale` chooses now, in input pixels.

    Args:
        model: At the scale it will run.
        memory: As for `upscale`.
        free: The bytes that are free on the device, if a host knows better than the
            device: it may count what it can evict.
    """
    return _edge_of(_fit(model, memory, free), model.model.halo)


def _fit(model: SpanPPDescriptor, memory: int | None, free: int | None) -> int:
    """The input pixels that may be read at once now."""
    network, where = model.model, (model.dtype, model.device)
    backend = fastest(network, model.backend, *where)
    return pixels_that_fit(
        network.hyper,
        network.scale,
        *where,
        memory,
        channels=map_channels(backend, network.hyper.channels, *where),
        pooled=backend == "openvino",
        free=free,
    )


def _edge_of(fit: int, halo: int) -> int:
    """The edge of a tile, without its halo, that reads at most ``fit`` pixels."""
    return max(SMALLEST_TILE, math.isqrt(fit) - 2 * halo)


def working_memory(
    model: SpanPPDescriptor,
    height: int,
    width: int,
    *,
    tile: int = LARGE_TILE,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> int:
    """Estimates what a tile takes at work, beside weights, input and output, in bytes.

    Args:
        model: At the scale it will run.
        height: Height of the image in pixels; a small one has smaller tiles.
        width: Width of the image in pixels.
        tile: Edge of the tiles in input pixels without their halo.
        dtype: What it will run in; None for the model's own.
        device: Where it will run; None for where it is.
    """
    network = model.model
    dtype, device = dtype or model.dtype, device or model.device
    backend = fastest(network, model.backend, dtype, device)
    edge = tile + 2 * network.halo
    return working_bytes(
        network.hyper,
        network.scale,
        dtype,
        min(height, edge) * min(width, edge),
        channels=map_channels(backend, network.hyper.channels, dtype, device),
        pooled=backend == "openvino",
        on_gpu=device.type != "cpu",
    )


def check_image(model: SpanPPDescriptor, image: Tensor) -> None:
    """Checks that an image is what a model takes.

    Raises:
        TypeError: It is no tensor.
        ValueError: It has another shape or dtype.
    """
    if not isinstance(image, Tensor):  # pyright: ignore
        raise TypeError(
            f"image is a {type(image).__name__}; expected a tensor (N, C, H, W) in [0, 1]"
        )
    expected = model.input_channels
    allowed = (1, 2, 3, 4) if expected == 3 else (expected,)
    if image.ndim != 4 or image.shape[1] not in allowed or 0 in image.shape:
        raise ValueError(
            f"image has the shape {tuple(image.shape)}; expected (N, C, H, W) with C"
            f" one of {allowed} and no empty axis"
        )
    if not image.is_floating_point():
        raise ValueError(
            f"image is {image.dtype}; expected floating point in [0, 1]: divide 8 bits by 255"
        )


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
