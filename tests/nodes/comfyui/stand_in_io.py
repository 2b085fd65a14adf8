"""A stand-in for ``comfy_api.latest.io``, by which nodes state inputs, outputs and results."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from typing import Any


def stand_in_io(*, newer: bool) -> types.SimpleNamespace:
    """Returns a stand-in for ``io``; ``newer`` takes what a newer ComfyUI added."""

    class Input:
        def __init__(self, id: str, **options: Any) -> None:  # noqa: A002
            self.id, self.options = id, options
            self.default = options.get("default")
            self.tooltip = options.get("tooltip", "")
            self.optional = options.get("optional", False)

    class NewerInput(Input):
        def __init__(self, id: str, *, advanced: bool = False, **options: Any) -> None:  # noqa: A002
            super().__init__(id, **options)
            self.advanced = advanced

    class Output:
        def __init__(self, id: str, **options: Any) -> None:  # noqa: A002
            self.id, self.options = id, options

    @dataclass
    class OlderSchema:
        node_id: str
        display_name: str
        category: str
        description: str
        inputs: list[Any]
        outputs: list[Any]
        hidden: list[Any] = field(default_factory=list)
        is_output_node: bool = False
        is_deprecated: bool = False

    @dataclass
    class NewerSchema(OlderSchema):
        search_aliases: list[str] = field(default_factory=list)

    class MultiType:
        @staticmethod
        def Input(widget: Input, types: list[Any]) -> Input:
            widget.types = types
            return widget

    class NodeOutput:
        def __init__(self, *values: Any, ui: Any = None) -> None:
            self.values, self.ui = values, ui

    kinds = (
        *("Int", "Float", "Boolean", "String", "Combo"),
        *("Image", "Mask", "Video", "UpscaleModel"),
    )
    widget = NewerInput if newer else Input
    io = types.SimpleNamespace(
        **{kind: types.SimpleNamespace(Input=widget, Output=Output) for kind in kinds},
        ComfyNode=type("ComfyNode", (), {}),
        NodeOutput=NodeOutput,
        Schema=NewerSchema if newer else OlderSchema,
        MultiType=MultiType,
        Hidden=types.SimpleNamespace(unique_id="UNIQUE_ID", prompt="PROMPT"),
    )
    if newer:
        option = type(
            "Option",
            (),
            {
                "__init__": lambda self, key, inputs: vars(self).update(
                    key=key, inputs=inputs
                )
            },
        )
        io.DynamicCombo = types.SimpleNamespace(Input=NewerInput, Option=option)
    return io
