"""The tensors of a call: images are checked, and results are checked or allocated."""

from __future__ import annotations

from torch import Tensor

from ..descriptor import SpanPPDescriptor


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
