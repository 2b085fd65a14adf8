from __future__ import annotations

from pathlib import Path

from api import BaseInput, NodeContext
from nodes.properties.inputs import PthFileInput, SliderInput
from nodes.properties.outputs import DirectoryOutput, FileNameOutput
from nodes.utils.utils import split_file_path
from packages.chaiNNer_pytorch.pytorch import io_group
from packages.chaiNNer_pytorch.settings import get_settings

import spanpp_core
from spanpp_core import SpanPPDescriptor

from ._device import dtype_for
from ._types import SpanPPModelOutput


class RepairInput(SliderInput):
    """A slider that may be left out, as in chains that were saved before it existed."""

    def make_optional(self):
        # v0.25.1 refuses this for sliders; later versions take their default away, on
        # which the editor stops with an error
        return BaseInput.make_optional(self)


@io_group.register(
    schema_id="spanpp:pytorch:load_model",
    name="Load SpanPP",
    description=[
        "Load a SpanPP model: one file, any scale from 1x to 8x.",
        "The model starts at 2x, or at its largest scale if it was not trained on 2x."
        " Use *Set Scale (SpanPP)* to choose another.",
        "Every kind of SpanPP checkpoint is read, training checkpoints included. If a"
        " file cannot be used, the error says what was found in it.",
    ],
    icon="PyTorch",
    inputs=[
        PthFileInput()
        .with_id(0)
        .with_docs(
            "A SpanPP file: `.pth`, `.pt`, `.ckpt` or `.safetensors`. No code in it is run.",
            f"The bundled model is `{spanpp_core.bundled_model()}`.",
        ),
        RepairInput(
            "Repair",
            precision=2,
            step=0.05,
            slider_step=0.05,
            min=0,
            max=1,
            default=0,
        )
        .make_optional()
        .with_id(1)
        .with_docs(
            "How strongly JPEG artefacts, blur and noise are removed. 0 keeps what is"
            " there.",
            "Above 0 this needs a repair model beside the file: for `mine.safetensors`"
            " it is `mine_repair.safetensors`. Values between 0 and 1 interpolate between"
            " the weights of the two.",
        ),
    ],
    outputs=[
        SpanPPModelOutput(
            'PyTorchModel { outputChannels: 3, arch: "SpanPP", subType: "SR" }'
        )
        .with_id(0)
        .suggest(),
        DirectoryOutput("Directory", of_input=0).with_id(2),
        FileNameOutput("Name", of_input=0).with_id(1),
    ],
    node_context=True,
    see_also=[
        "spanpp:pytorch:set_scale",
        "spanpp:pytorch:upscale_image",
        "chainner:pytorch:load_model",
    ],
    side_effects=True,
)
def load_spanpp_node(
    context: NodeContext, path: Path, repair: float | None
) -> tuple[SpanPPDescriptor, Path, str]:
    settings = get_settings(context)
    model = spanpp_core.load(path, repair=repair or 0, device=settings.device)
    model.to(dtype_for(settings, model))
    directory, name, _ = split_file_path(path)
    return model, directory, name
