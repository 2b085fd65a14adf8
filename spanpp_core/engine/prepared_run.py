"""A prepared run: the scale, the tiles and the memory are known; images come next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..descriptor import SpanPPDescriptor
from ..network.scale import output_size
from .arguments import check_image, result_of
from .dynamic_range import (
    OutsideError,
    RangeCurve,
    begin_check,
    extend,
    extremes,
    finite,
    values_outside,
)
from .flat_areas import keep_flat_areas
from .memory import free_memory
from .resized import part_of, upscale_to_size
from .size import OutputSize
from .tile_plan import Plan
from .tile_size import LARGE_TILE, auto_tile, working_memory
from .tiled import Progress

SMALL_BYTES = 64 * 2**20
"""Working memory that any GPU has: below, it is not asked what is free."""


@dataclass(frozen=True)
class Upscaling:
    """All that is decided before a run; made by `prepare`."""

    view: SpanPPDescriptor
    """The model at the scale that the network runs at."""
    input_size: tuple[int, int]
    """(height, width) in pixels of the images."""
    output: OutputSize
    """The size of the result."""
    wanted_tile: int | None
    """The edge of the tiles asked for, in input pixels."""
    memory: int | None
    """The most bytes that the run may take; None for what is free."""
    dtype: torch.dtype
    """The dtype that the network runs in."""
    device: torch.device
    """The device that it will run on."""
    counted: int | None = None
    """The bytes that are free there as a host counts them; None asks the device, once."""

    @property
    def scale(self) -> int | float:
        """The scale that the network runs at."""
        return self.view.scale

    @property
    def output_size(self) -> tuple[int, int]:
        """(height, width) in pixels of the result."""
        return self.output.sides

    @property
    def made_size(self) -> tuple[int, int]:
        """(height, width) in pixels of the network's output, before any resizing."""
        return output_size(*self.input_size, self.scale)

    @property
    def is_resized(self) -> bool:
        """Whether the network's output is resized to the picture."""
        return self.made_size != self.output.picture

    @property
    def is_direct(self) -> bool:
        """Whether the network's output is the result: nothing is resized or cut."""
        return self.made_size == self.output_size

    @property
    def working_memory(self) -> int:
        """Estimated bytes that one tile takes beside weights, input and output."""
        return working_memory(
            self.view,
            *self.input_size,
            tile=self.wanted_tile or LARGE_TILE,
            dtype=self.dtype,
            device=self.device,
        )

    @cached_property
    def tile(self) -> int:
        """The edge of the tiles in input pixels: as asked, or what fits into memory.

        Read it once the model is on the device it will run on: free memory decides.
        """
        edge, largest = self.wanted_tile, max(self.input_size)
        unlimited = self.memory is None and self.counted is None
        if edge is None and unlimited and self._is_small:
            edge = largest
        if edge is None:
            edge = auto_tile(self._network, self.memory, free=self._free)
        return min(edge, largest)

    @property
    def tiles(self) -> int:
        """The tiles that one image is cut into; where memory runs out they are halved."""
        plan = Plan.of(*self.input_size, self.scale, self.view.model.halo)
        return sum(1 for _ in plan.tiles(self.tile))

    @cached_property
    def _free(self) -> int:
        """The bytes that are free on the device, or were when it was first asked."""
        return free_memory(self.device) if self.counted is None else self.counted

    @property
    def _is_small(self) -> bool:
        """Whether an image takes so little of a GPU that it is not asked what is free.

        It takes longer to answer than to upscale; if memory is full, tiles are halved.
        """
        on_gpu, sides = self.device.type == "cuda", self.input_size
        return (
            on_gpu
            and working_memory(
                self.view, *sides, tile=max(sides), dtype=self.dtype, device=self.device
            )
            < SMALL_BYTES
        )

    def with_free_memory(self, free: int | None) -> Upscaling:
        """Returns this run with tiles and batches that fit into so many free bytes.

        For hosts that free memory when it is needed, and count it as free already.

        Args:
            free: Bytes on the device. With None the run stays as it is.
        """
        return self if free is None else replace(self, counted=free)

    def run(
        self,
        image: Tensor,
        *,
        out: Tensor | None = None,
        on_progress: Progress | None = None,
        on_outside: Callable[[tuple[float, float]], object] | None = None,
    ) -> Tensor:
        """Upscales images of the size that this was prepared for.

        Args:
            image: (N, C, H, W), see `upscale`.
            out: Where to write, (N, C, *output_size), of any strides and device.
            on_progress: Called after each batch of tiles, over all images.
            on_outside: Called with what `values_outside` returns of the images, if that
                is not None.

        Returns:
            ``out``, or a new tensor like it in the dtype and on the device of ``image``.

        Raises:
            ValueError: The shape or dtype of ``image`` or ``out`` is wrong.
            MemoryError: Not even a tile of a few pixels fits into memory.
        """
        if image.shape[2:] != self.input_size:
            raise ValueError(
                f"image has the shape {tuple(image.shape)}; this run is prepared for"
                f" {self.input_size[0]} rows and {self.input_size[1]} columns"
            )
        check_image(self.view, image)
        image = image.detach()
        check = begin_check(image)
        try:
            if self.device.type == "cpu":  # a GPU runs meanwhile, perhaps in vain
                check()
                check = None
            return self._run_in_range(image, out, on_progress, check)
        except OutsideError:
            pass
        if on_outside is not None and (ends := values_outside(image)) is not None:
            on_outside(ends)
        out = result_of(self.view, image, self.output_size, out)
        for i in range(len(image)):
            report = on_progress and part_of(on_progress, i, len(image))
            frame, place = finite(image[i : i + 1]), out[i : i + 1]
            curve = RangeCurve.of(self._colours(frame))
            if curve is None:
                self.run_in_range(frame, out=place, on_progress=report)
            else:
                self._run_on(curve, frame, place, report)
        return out

    def run_in_range(
        self,
        image: Tensor,
        *,
        out: Tensor | None = None,
        on_progress: Progress | None = None,
    ) -> Tensor:
        """Does as `run` for images that are known to lie in [0, 1], without looking."""
        return self._run_in_range(image, out, on_progress)

    def _run_in_range(
        self,
        image: Tensor,
        out: Tensor | None,
        on_progress: Progress | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Tensor:
        made = upscale_to_size(
            self._network,
            image,
            self.tile,
            self.output,
            on_progress,
            out=out,
            memory=self.memory,
            free=lambda: self._free,
            meanwhile=meanwhile,
        )
        alpha = image[:, self._colours(image).shape[1] :]
        if alpha.shape[1]:
            least, largest = extremes(alpha)
            if least != largest:  # else it is copied, not run
                keep_flat_areas(made[:, -1:], alpha, self.output)
        return made

    def _run_on(
        self,
        curve: RangeCurve,
        image: Tensor,
        out: Tensor,
        on_progress: Progress | None,
    ) -> None:
        """Upscales one image with values outside [0, 1], see `dynamic_range`."""
        first, second = (on_progress and part_of(on_progress, i, 2) for i in range(2))
        is_cut = self.output.picture != self.output_size
        whole = self._uncut if is_cut else self
        made = whole.run_in_range(
            image.clamp(0, 1), out=None if is_cut else out, on_progress=first
        )
        colours = self._colours(image)
        curved = whole._exact.run_in_range(curve.compress(colours), on_progress=second)
        extend(self._colours(made), curved, colours, curve)
        if is_cut:
            rows, cols = self.output.window
            out.copy_(made[:, :, rows, cols])

    def _colours(self, image: Tensor) -> Tensor:
        """Returns images (N, C, H, W) without the alpha that they may have last."""
        has_alpha = self.view.input_channels == 3 and image.shape[1] in (2, 4)
        return image[:, :-1] if has_alpha else image

    @cached_property
    def _uncut(self) -> Upscaling:
        """This run, up to where the result is cut from the picture."""
        height, width = self.output.picture
        return replace(self, output=replace(self.output, height=height, width=width))

    @cached_property
    def _exact(self) -> Upscaling:
        """This run in float32: the inverse of a curve multiplies rounding."""
        return replace(self, dtype=torch.float32)

    @cached_property
    def _network(self) -> SpanPPDescriptor:
        return self.view.with_dtype(self.dtype)
