from __future__ import annotations

from api import KeyInfo
from nodes.properties.inputs import SliderInput
from packages.chaiNNer_pytorch.pytorch import utility_group

from spanpp_core import SpanPPDescriptor

from ._types import SpanPPModelInput, SpanPPModelOutput


@utility_group.register(
    schema_id="spanpp:pytorch:set_scale",
    name="Set Scale (SpanPP)",
    description=[
        "Choose the scale at which a SpanPP model upscales: any number from 1 to 8.",
        "The weights are shared, not copied: connect one loaded model to as many of"
        " these nodes as you like.",
        "A model at a whole scale works in every PyTorch node of chaiNNer. A model at a"
        " fractional scale only works in *Upscale (SpanPP)*.",
    ],
    icon="MdOutlinePhotoSizeSelectLarge",
    inputs=[
        SpanPPModelInput().with_id(0),
        SliderInput(
            "Scale",
            precision=4,
            step=0.01,
            slider_step=0.05,
            min=1,
            max=8,
            default=2,
            unit="x",
            hide_trailing_zeros=True,
        )
        .with_id(1)
        .with_docs(
            "How much larger the output is: at 2.5, an image of 100x80 pixels becomes"
            " one of 250x200 pixels."
        ),
    ],
    outputs=[
        SpanPPModelOutput("SpanPPModel::atScale(Input0, Input1)")
        .with_id(0)
        .as_passthrough_of(0)
    ],
    key_info=KeyInfo.type('string::concat(toString(Input1), "x")'),
    see_also=["spanpp:pytorch:load_model", "spanpp:pytorch:upscale_image"],
)
def set_scale_spanpp_node(model: SpanPPDescriptor, scale: float) -> SpanPPDescriptor:
    return model.at_scale(scale)
