"""Files for other programs: ONNX, ncnn, TorchScript and slim safetensors.

`exporter` writes and verifies; `formats` says what each format is; `onnx`,
`onnx_multi`, `ncnn` and `torchscript` make the files; `verify` runs them.
"""

from ..errors import ExportError
from .exporter import Exported, export
from .formats import FORMATS, ExportOptions

__all__ = ["FORMATS", "ExportError", "ExportOptions", "Exported", "export"]
