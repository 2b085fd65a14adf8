"""Inputs that nodes share: the size of the result, and how it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from comfy_api.latest import io

from ...spanpp_core import (
    FRACTIONAL,
    TO_MULTIPLE,
    Size,
    SpanPPDescriptor,
    ToMultiple,
    fitting_dtype,
)
from .compatibility import ADVANCED, choice, chosen, factor_input, one_of
from .device import auto_dtype

MODEL_SCALE = "model scale"
FIT = "fit inside"

ANY = "any"
MULTIPLES = {ANY: 1, "8": 8, "16": 16, "32": 32, "64": 64}

AUTO = "auto"
PRECISIONS = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def size_inputs() -> list[io.Input]:
    """Returns the inputs for the size of the result, see `wanted_size`."""
    return [
        *choice(
            "size",
            _ways(),
            tooltip=(
                "Size of the result: the model's scale, a factor, or a size in"
                " pixels. Nothing is stretched; 'exact size' crops the edges."
            ),
        ),
        io.Combo.Input(
            "multiple_of",
            options=list(MULTIPLES),
            default=ANY,
            optional=True,
            display_name="multiple of",
            tooltip=(
                "Makes both sides a multiple of this many pixels. For a second sampling"
                " pass ('hires fix') take what the model's VAE wants: 8, or 64 to be"
                " safe."
            ),
        ),
        io.Combo.Input(
            "to_multiple",
            options=list(TO_MULTIPLE),
            default=TO_MULTIPLE[0],
            optional=True,
            display_name="crop or fit",
            tooltip=(
                "How sides become multiples: 'crop' cuts both edges off evenly, 'fit'"
                " stretches the picture a little, by half a multiple at most."
            ),
            **ADVANCED,
        ),
    ]


def run_inputs() -> list[io.Input]:
    """Returns the inputs for how the result is made: precision, tile and method."""
    return [
        io.Combo.Input(
            "precision",
            options=[AUTO, *PRECISIONS],
            default=AUTO,
            optional=True,
            tooltip=(
                "Number format of the network. 'auto': the fastest one on this"
                " device whose result stays within 2/255 of float32."
            ),
            **ADVANCED,
        ),
        io.Int.Input(
            "tile",
            default=0,
            min=0,
            max=8192,
            step=32,
            optional=True,
            display_name="tile (0: auto)",
            tooltip=(
                "Side of a tile in input pixels; 0 chooses it from the free memory. The"
                " picture is the same at any value."
            ),
            **ADVANCED,
        ),
        io.Combo.Input(
            "method",
            options=list(FRACTIONAL),
            default=FRACTIONAL[0],
            optional=True,
            display_name="fractional scales",
            tooltip=(
                "How a scale such as x1.5 is reached. 'native': in one pass, with a"
                " kernel for exactly that scale. 'downscale': by the next whole"
                " scale, then shrunk. 'auto': native if the model was trained on"
                " fractional scales."
            ),
            **ADVANCED,
        ),
    ]


def wanted_size(
    size: str | Mapping[str, Any] | None,
    flat: Mapping[str, Any],
    multiple_of: str,
    to_multiple: ToMultiple,
) -> Size:
    """Returns the size that the values of `size_inputs` ask for.

    Args:
        size: What the host passed for the choice.
        flat: The remaining arguments of ``execute``, see `chosen`.
        multiple_of: One of `MULTIPLES`.
        to_multiple: One of `TO_MULTIPLE`.

    Raises:
        ValueError: A value is not one of those offered.
    """
    option, values = chosen("size", size, flat, _ways())
    one_of("multiple of", multiple_of, MULTIPLES)
    one_of("crop or fit", to_multiple, TO_MULTIPLE)
    if option == FIT:
        values = {"fit": (values["width"], values["height"])}
    return Size(  # every other option names fields of it
        **values, multiple_of=MULTIPLES[multiple_of], to_multiple=to_multiple
    )


def chosen_dtype(
    precision: str, model: SpanPPDescriptor, device: torch.device
) -> torch.dtype:
    """Returns the dtype to run a model in on a device."""
    if precision == AUTO:
        return fitting_dtype(model, auto_dtype(device))
    one_of("precision", precision, PRECISIONS)
    return PRECISIONS[precision]


def _ways() -> dict[str, list[io.WidgetInput]]:
    """The ways to say a size, each with its inputs."""

    def width() -> io.WidgetInput:
        return _pixels("width", 3840, "Width of the result, or of the box to fit in.")

    def height() -> io.WidgetInput:
        return _pixels("height", 2160, "Height of the result, or of the box to fit in.")

    return {
        MODEL_SCALE: [],
        "factor": [
            factor_input(
                "factor",
                any_type=False,
                tooltip="Factor for width and height, instead of the model's scale.",
            )
        ],
        FIT: [width(), height()],
        "exact size": [width(), height()],
        "width": [width()],
        "height": [height()],
        "longer side": [_pixels("longer_side", 2048, "Longer side of the result.")],
        "shorter side": [_pixels("shorter_side", 1080, "Shorter side of the result.")],
        "megapixels": [
            io.Float.Input(
                "megapixels",
                default=4.0,
                min=0.01,
                max=500.0,
                step=0.01,
                tooltip="Area of the result in millions of pixels.",
            )
        ],
    }


def _pixels(side: str, default: int, tooltip: str) -> io.WidgetInput:
    return io.Int.Input(
        side,
        default=default,
        min=1,
        max=32768,
        display_name=side.replace("_", " "),
        tooltip=f"{tooltip} In pixels.",
    )
