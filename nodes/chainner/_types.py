"""What chaiNNer's editor knows of a SpanPP model before anything ran.

chaiNNer's own ``PyTorchModel`` has a whole scale, and its Upscale Image node breaks on
any other. So a model bound to a whole scale is a ``PyTorchModel``, which every stock
node takes; one bound to a fractional scale is a ``SpanPPModel``, which only our nodes
take, and the editor refuses the connection that could not run.
"""

from __future__ import annotations

import navi
from nodes.properties.inputs import ModelInput
from nodes.properties.outputs import ModelOutput

import spanpp_core
from spanpp_core import SpanPPDescriptor

spanpp_core.install()  # stock Load Model and Interpolate Models read SpanPP from here on

ANY_SPANPP_MODEL = 'PyTorchModel { arch: "SpanPP" } | SpanPPModel'

DEFINITIONS = """
struct SpanPPModel {
    scale: nonInt(1..8),
    inputChannels: int(1..),
    outputChannels: int(1..),
}

def SpanPPModel::atScale(model: PyTorchModel | SpanPPModel, scale: 1..8) {
    match scale {
        int as whole => PyTorchModel {
            scale: whole,
            inputChannels: model.inputChannels,
            outputChannels: model.outputChannels,
            arch: "SpanPP",
            subType: "SR",
        },
        _ as fraction => SpanPPModel {
            scale: fraction,
            inputChannels: model.inputChannels,
            outputChannels: model.outputChannels,
        },
    }
}

// Python's round: a half goes to the even neighbour
def SpanPPModel::length(length: int(1..), scale: number) {
    let exact = length * scale;
    let rounded = match exact - floor(exact) {
        0.5 => 2 * round(exact / 2),
        _ => round(exact),
    };
    rounded & int(1..)
}
"""
"""Names every SpanPP expression may use; declared once, by `SpanPPModelInput`."""


class SpanPPModelInput(ModelInput):
    """A SpanPP model, at any scale."""

    def __init__(self, label: str = "Model"):
        super().__init__(label, ANY_SPANPP_MODEL)
        self.type_definitions = DEFINITIONS
        self.associated_type = SpanPPDescriptor

    def enforce(self, value: object) -> SpanPPDescriptor:
        if not isinstance(value, SpanPPDescriptor):
            architecture = getattr(value, "architecture", None)
            found = getattr(architecture, "name", type(value).__name__)
            raise ValueError(
                f"{self.label} is {found}, but this node only takes SpanPP models: use"
                " chaiNNer's own Upscale Image for other architectures."
            )
        return value


class SpanPPModelOutput(ModelOutput):
    """A SpanPP model, at any scale."""

    def __init__(self, model_type: navi.ExpressionJson):
        super().__init__(model_type, kind="tagged")
        self.associated_type = SpanPPDescriptor

    def get_broadcast_type(self, value: SpanPPDescriptor) -> navi.ExpressionJson | None:
        # The editor reads what is broadcast without our definitions; what it inferred
        # for a fractional scale is exact already.
        if isinstance(value.scale, int):
            return super().get_broadcast_type(value)
        return None
