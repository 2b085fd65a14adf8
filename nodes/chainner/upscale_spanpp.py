from __future__ import annotations

from enum import Enum

import numpy as np
from api import KeyInfo, NodeContext, Progress
from nodes.groups import Condition, if_enum_group, if_group
from nodes.impl.pytorch.utils import np2tensor, safe_cuda_cache_empty, tensor2np
from nodes.impl.upscale.auto_split_tiles import CUSTOM, TILE_SIZE_256, TileSize
from nodes.properties.inputs import (
    BoolInput,
    EnumInput,
    ImageInput,
    NumberInput,
    TileSizeDropdown,
)
from nodes.properties.outputs import ImageOutput
from packages.chaiNNer_pytorch.pytorch import processing_group
from packages.chaiNNer_pytorch.settings import get_settings

import spanpp_core
from spanpp_core import Size, SpanPPDescriptor

from ._any_channels import CHANNELS, upscale_any_channels
from ._device import dtype_for, memory_limit, stoppable, tile_edge
from ._types import SpanPPModelInput


class SpanPPFractionalScale(Enum):
    AUTO = "auto"
    DOWNSCALE = "downscale"
    NATIVE = "native"


@processing_group.register(
    schema_id="spanpp:pytorch:upscale_image",
    name="Upscale (SpanPP)",
    description=[
        "Upscale an image by the scale of a SpanPP model, whole or fractional.",
        "Tiles are exact: no seams, and the same image at every tile size.",
    ],
    icon="PyTorch",
    inputs=[
        ImageInput().with_id(0),
        SpanPPModelInput().with_id(1),
        TileSizeDropdown()
        .with_id(2)
        .with_docs(
            "Large images are upscaled in tiles, so that they fit into memory. The"
            " result is the same at every tile size.",
            "*Auto (estimate)* chooses the size from the free memory and chaiNNer's"
            " *Memory Budget Limit*. Choose a smaller one if you run out of memory.",
            hint=True,
        ),
        if_enum_group(2, CUSTOM)(
            NumberInput(
                "Custom Tile Size",
                min=1,
                max=None,
                default=TILE_SIZE_256,
                unit="px",
            ).with_id(3),
        ),
        if_group(~Condition.type(1, "PyTorchModel", if_not_connected=True))(
            EnumInput(
                SpanPPFractionalScale,
                "Fractional Scale",
                default=SpanPPFractionalScale.AUTO,
                option_labels={
                    SpanPPFractionalScale.AUTO: "Auto",
                    SpanPPFractionalScale.NATIVE: "Native",
                    SpanPPFractionalScale.DOWNSCALE: "Downscale",
                },
            )
            .with_id(5)
            .with_docs(
                "How a fractional scale is reached.",
                "*Native*: in one pass, with a kernel for exactly that scale."
                " *Downscale*: by the next whole scale, then shrunk. *Auto*: native if the"
                " model was trained on fractional scales.",
            )
        ),
        if_group(Condition.type(0, "Image { channels: 4 }"))(
            BoolInput("Separate Alpha", default=False)
            .with_id(4)
            .with_docs(
                "*On*: alpha runs by itself and stays close to the original; opaque regions"
                " may get a dark border. Best where transparency changes smoothly.",
                "*Off*: the image runs over black and over white, and alpha follows from the"
                " difference.",
            )
        ),
    ],
    outputs=[
        ImageOutput(
            image_type=f"""
                Image {{
                    width: SpanPPModel::length(Input0.width, Input1.scale),
                    height: SpanPPModel::length(Input0.height, Input1.scale),
                    channels: {CHANNELS},
                }}
            """,
            assume_normalized=True,  # what lies in [0, 1] stays there
        ).with_id(0)
    ],
    key_info=KeyInfo.type('string::concat(toString(Input1.scale), "x")'),
    node_context=True,
    see_also=[
        "spanpp:pytorch:load_model",
        "spanpp:pytorch:set_scale",
        "chainner:pytorch:upscale_image",
    ],
)
def upscale_spanpp_node(
    context: NodeContext,
    image: np.ndarray,
    model: SpanPPDescriptor,
    tile_size: TileSize,
    custom_tile_size: int,
    fractional_scale: SpanPPFractionalScale,
    separate_alpha: bool,
) -> np.ndarray:
    settings = get_settings(context)
    context.add_cleanup(
        safe_cuda_cache_empty, after="node" if settings.force_cache_wipe else "chain"
    )
    model.to(settings.device, dtype_for(settings, model))
    chosen = TileSize(custom_tile_size) if tile_size == CUSTOM else tile_size

    def upscale(part: np.ndarray, progress: Progress) -> np.ndarray:
        def report(done: int, tiles: int) -> None:
            progress.set_progress(done / tiles)
            progress.suspend()

        progress.suspend()
        height, width = part.shape[:2]
        run = spanpp_core.prepare(
            model,
            (height, width),
            Size(),
            fractional=fractional_scale.value,
            tile=tile_edge(chosen, part),
            memory=memory_limit(settings),
        )
        with stoppable(model, progress):
            result = run.run(np2tensor(part, change_range=False), on_progress=report)
        return tensor2np(result, change_range=False, imtype=np.float32)

    return upscale_any_channels(
        image,
        upscale,
        in_channels=model.input_channels,
        out_channels=model.output_channels,
        separate_alpha=separate_alpha,
        progress=context,
    )
