"""Upscale: a model and images to larger images, by a scale or to a size."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor
from typing_extensions import override

from ...spanpp_core import (
    FRACTIONAL,
    Fractional,
    Size,
    Upscaling,
    prepare,
    values_outside,
)
from .compatibility import ADVANCED, choice, chosen, node_schema, one_of
from .device import auto_dtype, bring_to_device, load_device, result_buffer
from .model_socket import as_spanpp
from .preview import LivePreview
from .progress import TileProgress, show_text

MODEL_SCALE = "model scale"
FIT = "fit inside"
LONGER_SIDE = "longer side"
MEGAPIXELS = "megapixels"
FACTOR = "factor"

AUTO = "auto"
PRECISIONS = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


class SpanPPUpscale(io.ComfyNode):
    """Upscales images exactly, tile by tile, in the memory there is."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SpanPPUpscale",
            display_name="Upscale (SpanPP)",
            description=(
                "Upscales images by the model's scale or to a size. Tiles are exact: no"
                " seams, any image size, alpha kept."
            ),
            search_aliases=[
                "super resolution",
                "enlarge image",
                "upscale image to size",
                "upscale video frames",
                "resize",
            ],
            inputs=[
                io.UpscaleModel.Input(
                    "model",
                    tooltip="A SpanPP model, bound to a scale by Set Scale or not.",
                ),
                io.Image.Input(
                    "image",
                    tooltip="One image or a batch of frames, with or without alpha.",
                ),
                io.Combo.Input(
                    "precision",
                    options=[AUTO, *PRECISIONS],
                    default=AUTO,
                    tooltip=(
                        "Number format of the network: 'auto' is the fastest of the"
                        " device that stays within 1/255 of float32."
                    ),
                    **ADVANCED,
                ),
                io.Int.Input(
                    "tile",
                    default=0,
                    min=0,
                    max=8192,
                    step=32,
                    tooltip=(
                        "Side of a tile in input pixels; 0 chooses it from the free"
                        " memory. The picture is the same at any value."
                    ),
                    **ADVANCED,
                ),
                io.Combo.Input(
                    "method",
                    options=list(FRACTIONAL),
                    default=FRACTIONAL[0],
                    display_name="fractional scales",
                    tooltip=(
                        "How a scale that is not whole is made: 'downscale' runs the next"
                        " whole scale and resizes once, 'native' runs that very scale."
                    ),
                    **ADVANCED,
                ),
                *choice("size", _size_options(), tooltip="What the result's size is."),
            ],
            outputs=[
                io.Image.Output(
                    "upscaled",
                    display_name="image",
                    tooltip="Larger images; values outside [0, 1] are kept.",
                ),
                io.Int.Output(
                    "width",
                    display_name="width",
                    tooltip="Width of the result in pixels.",
                ),
                io.Int.Output(
                    "height",
                    display_name="height",
                    tooltip="Height of the result in pixels.",
                ),
                io.String.Output(
                    "info",
                    display_name="info",
                    tooltip=(
                        "Sizes in pixels, scale, precision, tiles and seconds, as shown on"
                        " the node."
                    ),
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @override
    @classmethod
    def execute(
        cls,
        model: object,
        image: Tensor,
        precision: str,
        tile: int,
        method: Fractional,
        size: str | Mapping[str, Any],
        **flat: Any,
    ) -> io.NodeOutput:
        began = time.monotonic()
        spanpp = as_spanpp(model)
        frames, height, width, channels = image.shape
        one_of("fractional scales", method, FRACTIONAL)
        option, values = chosen("size", size, flat, _size_options())
        device = load_device(spanpp)
        run = prepare(
            spanpp,
            (height, width),
            _size(option, values),
            fractional=method,
            tile=tile or None,
            dtype=chosen_dtype(precision, device),
            device=device,
        )
        bring_to_device(spanpp, run.working_memory)
        out_height, out_width = run.output_size
        result = result_buffer((frames, out_height, out_width, channels))
        progress = TileProgress(LivePreview(image, result))
        run.run(image.movedim(-1, 1), out=result.movedim(-1, 1), on_progress=progress)
        info = _description(run, frames, progress.tiles, values_outside(image))
        info += f" · {time.monotonic() - began:.2f} s"
        show_text(cls, info)
        return io.NodeOutput(result, out_width, out_height, info)


def _description(
    run: Upscaling, frames: int, tiles: int, kept: tuple[float, float] | None
) -> str:
    """Says what was done, in the two lines a node shows."""
    (height, width), (out_height, out_width) = run.input_size, run.output_size
    return (
        f"{width}x{height} → {out_width}x{out_height} px · x{run.scale:.4g}"
        + (", then resized" if run.is_resized else "")
        + " ·\n"  # newer front ends show the break as a space
        + ("" if frames == 1 else f"{frames} frames · ")
        + f"{tiles} {'tile' if tiles == 1 else 'tiles'} of ≤{run.tile} px · "
        + str(run.dtype).removeprefix("torch.")
        + (f" · values from {kept[0]:.3g} to {kept[1]:.3g} kept" if kept else "")
    )


def _size_options() -> dict[str, list[io.WidgetInput]]:
    """The ways to say a size; those with a box come first, see `choice`."""
    return {
        MODEL_SCALE: [],
        FIT: [
            io.Int.Input(
                "width",
                default=3840,
                min=1,
                max=32768,
                tooltip="Width of the box in pixels; the picture keeps its shape.",
            ),
            io.Int.Input(
                "height",
                default=2160,
                min=1,
                max=32768,
                tooltip="Height of the box in pixels; the picture keeps its shape.",
            ),
        ],
        LONGER_SIDE: [
            io.Int.Input(
                "longer_side",
                default=2048,
                min=1,
                max=32768,
                tooltip="Longer side of the result in pixels.",
            )
        ],
        MEGAPIXELS: [
            io.Float.Input(
                "megapixels",
                default=4.0,
                min=0.01,
                max=500.0,
                step=0.1,
                tooltip="Area of the result in millions of pixels.",
            )
        ],
        FACTOR: [
            io.Float.Input(
                "factor",
                default=2.0,
                min=1.0,
                max=8.0,
                step=0.05,
                tooltip="Times the width and height, instead of the model's scale.",
            )
        ],
    }


def _size(option: str, values: dict[str, Any]) -> Size:
    """Returns the size asked for."""
    if option == FIT:
        return Size(fit=(values["width"], values["height"]))
    return Size(**values)  # each other option is named as its field


def chosen_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Returns the dtype to run in on a device."""
    if precision == AUTO:
        return auto_dtype(device)
    one_of("precision", precision, PRECISIONS)
    return PRECISIONS[precision]
