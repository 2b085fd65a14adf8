"""Files for other programs: ONNX, ncnn, TorchScript and slim safetensors.

`exporter` verifies and writes; `plan` says what is to be made and `formats` how;
`programs` knows what some programs expect; `onnx`, `onnx_any`, `ncnn` and `torchscript`
make the files; `verify` runs them.
"""

from ..errors import ExportError
from .exporter import Exported, export
from .formats import FORMATS
from .plan import ExportOptions, WeightPrecision

__all__ = [
    "FORMATS",
    "ExportError",
    "ExportOptions",
    "Exported",
    "WeightPrecision",
    "export",
]
