"""Upscale: a model and images to larger images, by a scale or to a size."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io
from torch import Tensor
from typing_extensions import override

from ...spanpp_core import (
    FRACTIONAL,
    TO_MULTIPLE,
    Fractional,
    Size,
    ToMultiple,
    Upscaling,
    prepare,
)
from ...spanpp_core.engine.masks import upscale_masks
from .any_model import as_spanpp
from .compatibility import node_schema, one_of
from .device import bring_to_device, load_device, result_buffer
from .inputs import ANY, AUTO, chosen_dtype, run_inputs, size_inputs, wanted_size
from .preview import LivePreview
from .progress import StepProgress, TileProgress


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
                *("super resolution", "superres", "enlarge image", "upscale image by"),
                *("upscale image to size", "hires fix", "upscaler", "resize", "hd"),
                *("increase resolution", "upscale mask", "transparent png"),
                *("超分", "超分辨率", "放大图像", "图像放大", "放大"),
                *("超解像", "拡大", "画像拡大", "アップスケール", "高解像度化"),
            ],
            inputs=[
                io.UpscaleModel.Input(
                    "model",
                    tooltip="A SpanPP model, with or without a scale from Set Scale.",
                ),
                io.Image.Input(
                    "image",
                    tooltip="One image or a batch of frames, with or without alpha.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "Mask to enlarge with the image: the transparency from Load Image,"
                        " or an area to inpaint."
                    ),
                ),
                *size_inputs(),
                *run_inputs(),
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
                io.Mask.Output(
                    "upscaled_mask",
                    display_name="mask",
                    tooltip="The mask at the size of the result; zeros if none came in.",
                ),
            ],
        )

    @override
    @classmethod
    def execute(
        cls,
        model: object,
        image: Tensor,
        size: str | Mapping[str, Any] | None = None,
        multiple_of: str = ANY,
        to_multiple: ToMultiple = TO_MULTIPLE[0],
        precision: str = AUTO,
        tile: int = 0,
        method: Fractional = FRACTIONAL[0],
        mask: Tensor | None = None,
        **flat: Any,
    ) -> io.NodeOutput:
        began = time.monotonic()
        spanpp = as_spanpp(model)
        if image.ndim != 4:
            raise ValueError(
                f"image has the shape {tuple(image.shape)}; expected (frames, height,"
                " width, channels), as every node of ComfyUI gives it"
            )
        frames, height, width, channels = image.shape
        if not image.numel():
            raise ValueError(
                f"there is nothing to upscale: {frames} images of {width}x{height} pixels"
                " came in; look at the node before"
            )
        one_of("fractional scales", method, FRACTIONAL)
        wanted = wanted_size(size, flat, multiple_of, to_multiple)
        device = load_device(spanpp)
        run = prepare(
            spanpp,
            (height, width),
            wanted,
            fractional=method,
            tile=tile or None,
            dtype=chosen_dtype(precision, spanpp, device),
            device=device,
        )
        out_height, out_width = run.output_size
        result = result_buffer((frames, out_height, out_width, channels))
        run = run.with_free_memory(bring_to_device(spanpp, run.working_memory))
        larger_mask = _larger_mask(run, mask)
        outside: list[tuple[float, float]] = []
        run.run(
            image.movedim(-1, 1),
            out=result.movedim(-1, 1),
            on_progress=TileProgress(LivePreview(image, result)),
            on_outside=outside.append,
        )
        info = _description(run, wanted, frames, outside)
        info += f" · {time.monotonic() - began:.2f} s"
        seen = {"input": [width, height], "scale": spanpp.scale}  # for web/upscale.js
        return io.NodeOutput(
            *(result, out_width, out_height, info, larger_mask),
            ui={"text": (info,), "spanpp": (seen,)},
        )


def _larger_mask(run: Upscaling, mask: Tensor | None) -> Tensor:
    """Returns a mask (N, H, W) or (H, W) at the size of the result, (N, H, W)."""
    if mask is None:
        return result_buffer((1, *run.output_size, 1))[..., 0]
    masks = mask.reshape(-1, 1, *mask.shape[-2:])
    result = result_buffer((len(masks), *run.output_size, 1))[..., 0]
    upscale_masks(run, masks, out=result[:, None], on_progress=StepProgress())
    return result


def _description(
    run: Upscaling,
    wanted: Size,
    frames: int,
    outside: list[tuple[float, float]],
) -> str:
    """Says what was done, in the two lines a node shows."""
    (height, width), (out_height, out_width) = run.input_size, run.output_size
    each = " each" if frames > 1 else ""
    return (
        f"{width}x{height} → {out_width}x{out_height} px · x{run.scale:.5g}"
        + (", then resized" if run.is_resized else "")
        + (", cropped" if run.output.picture != run.output_size else "")
        + (f" · multiples of {n}" if (n := wanted.multiple_of) > 1 else "")
        + "\n"
        + ("" if frames == 1 else f"{frames} frames · ")
        + (f"{n} tiles{each} of up to {run.tile} px · " if (n := run.tiles) > 1 else "")
        + str(run.dtype).removeprefix("torch.")
        + "".join(f" · values from {a:.3g} to {b:.3g} kept" for a, b in outside)
    )
