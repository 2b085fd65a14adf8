"""Preparing a run from a model, the input size and the size asked for; doing it at once."""

from __future__ import annotations

import torch
from torch import Tensor

from ..descriptor import SpanPPDescriptor
from .arguments import check_image
from .prepared_run import Upscaling
from .size import FRACTIONAL, Fractional, Size
from .tiled import Progress


def prepare(
    model: SpanPPDescriptor,
    input_size: tuple[int, int],
    size: Size | None = None,
    *,
    fractional: Fractional = "auto",
    tile: int | None = None,
    memory: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Upscaling:
    """Decides how images of one size are upscaled: the scale, the tiles, the memory.

    Args:
        model: What `load` or `at_scale` returned.
        input_size: (height, width) in pixels.
        size: What is wanted. None: the scale the model is bound to, natively.
        fractional: How a fractional factor is reached, see `Fractional`.
        tile: Edge of the tiles in input pixels without their halo; None chooses it from
            the memory that is free. The result is the same at every size.
        memory: Bytes that the work may take beside weights, input and output, if that
            is less than what is free; tiles that are asked for are not made smaller.
        dtype: What to run in; None for that of ``model``, which is never cast itself.
        device: Where ``model`` will be when it runs; None for where it is.

    Raises:
        ScaleError: The size is more than 8 times the input.
        SizeError: The size cannot be cut to the multiple that is asked for.
        PrecisionError: The values of the network are too large for the dtype.
        TypeError: ``size`` is no `Size`.
        ValueError: ``tile`` is not a number of pixels, or ``fractional`` none of
            `FRACTIONAL`.

    Example:
        >>> import spanpp_core
        >>> model = spanpp_core.load(spanpp_core.bundled_model())
        >>> run = prepare(model, (1080, 1440), Size(fit=(3840, 2160)))
        >>> run.scale, run.output_size
        (2, (2160, 2880))
    """
    if size is not None and not isinstance(size, Size):  # pyright: ignore
        raise TypeError(f"size is {size!r}; give a Size, such as Size(factor=2.5)")
    if fractional not in FRACTIONAL:
        raise ValueError(f"fractional is {fractional!r}; give one of {FRACTIONAL}")
    if tile is not None and tile < 1:
        raise ValueError(f"tile is {tile}; expected a number of pixels from 1")
    model.checkpoint.check_dtype(dtype or model.dtype)
    output = (size or Size()).of(*input_size, model.scale)
    is_native = fractional == "native" or (fractional == "auto" and model.continuous)
    scale = output.scale(model.scales, native=size is None or is_native)
    return Upscaling(
        model.at_scale(scale),
        input_size,
        output,
        tile,
        memory,
        dtype or model.dtype,
        torch.device(device or model.device),
    )


def upscale(
    model: SpanPPDescriptor,
    image: Tensor,
    size: Size | None = None,
    *,
    fractional: Fractional = "auto",
    tile: int | None = None,
    memory: int | None = None,
    out: Tensor | None = None,
    on_progress: Progress | None = None,
) -> Tensor:
    """Upscales images, exactly and within memory.

    The result is that of the untiled network to rounding, at every tile size. When
    memory runs out the batch is halved, then the tile, and only what failed is redone.

    Args:
        model: What `load` or `at_scale` returned.
        image: (N, C, H, W), floating point, on any device. White is 1; colours outside
            [0, 1] are kept, see `dynamic_range`. C is 3, 1 (grey), 4 or 2 (with alpha
            last). Grey runs as three equal channels; alpha runs as a grey image of its
            own, and stays 0 or 1 where it is that all around. For a model of other than 3
            input channels, C is theirs and the result has 3. It is left untouched.
        size: What is wanted. None: the scale the model is bound to, natively.
        fractional: How a fractional factor is reached, see `Fractional`.
        tile: As for `prepare`.
        memory: As for `prepare`.
        out: Where to write, (N, C, height, width) of any strides and device; not in the
            memory of ``image``.
        on_progress: Called after each batch of tiles, see `Progress`.

    Returns:
        ``out``, or a new tensor like it in the dtype and on the device of ``image``.

    Raises:
        ScaleError: The size is more than 8 times the input.
        TypeError: ``image`` is no tensor, or ``size`` no `Size`.
        ValueError: The shape or dtype of ``image`` or ``out``, ``tile`` or ``fractional``
            is wrong.
        MemoryError: Not even a tile of a few pixels fits into memory.

    Example:
        >>> import spanpp_core, torch
        >>> model = spanpp_core.load(spanpp_core.bundled_model())
        >>> image = torch.rand(1, 3, 20, 30)
        >>> spanpp_core.upscale(model.at_scale(1.5), image).shape
        torch.Size([1, 3, 30, 45])
        >>> spanpp_core.upscale(model, image, spanpp_core.Size(fit=(100, 100))).shape
        torch.Size([1, 3, 67, 100])
    """
    check_image(model, image)
    height, width = image.shape[2:]
    run = prepare(
        model, (height, width), size, fractional=fractional, tile=tile, memory=memory
    )
    return run.run(image, out=out, on_progress=on_progress)
