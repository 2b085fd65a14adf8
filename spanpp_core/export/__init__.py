"""Files for other programs: ONNX, ncnn, TorchScript and slim safetensors.

`exporter` verifies and writes; `planned_file` says what is to be made and `formats` how;
`programs` knows what some programs expect; `onnx`, `onnx_any`, `ncnn` and `torchscript`
make the files; `verify` runs them.
"""

from ..errors import ExportError
from .exporter import Exported, export
from .formats import FORMATS
from .planned_file import ExportOptions, WeightPrecision

__all__ = [
    "FORMATS",
    "ExportError",
    "ExportOptions",
    "Exported",
    "WeightPrecision",
    "export",
]
