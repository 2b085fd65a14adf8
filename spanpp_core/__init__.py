"""SpanPP: super-resolution at any scale, picked at run time.

`load` a model, `upscale` with it::

    import spanpp_core as spanpp

    model = spanpp.load(spanpp.bundled_model())
    y = spanpp.upscale(model, image, size=spanpp.Size(factor=2.5))

Data flows one way: `checkpoint` -> `network` -> `backends` -> `descriptor` -> `engine` ->
`video`, `batch` -> node or command. Beside the way stand `export` and `training`, which
begin at a checkpoint, `host_models` (models that a program hands over) and `diagnosis`.
On the ground lie `errors`, `optional`, `devices`, `atomic_file`, `resize`, `metrics` and
`images`.
"""

from . import errors, export, video
from .backends import BACKENDS, Backend
from .checkpoint import Checkpoint, parse, read, write_slim
from .descriptor import (
    SpanPPArch,
    SpanPPDescriptor,
    bundled_model,
    bundled_photo,
    install,
    load,
)
from .engine.compare import split_view
from .engine.dynamic_range import values_outside
from .engine.precision import fastest_dtype, fitting_dtype
from .engine.prepared_run import Upscaling
from .engine.size import (
    FRACTIONAL,
    TO_MULTIPLE,
    Fractional,
    Size,
    ToMultiple,
    parse_factor,
)
from .engine.upscaling import prepare, upscale
from .errors import (
    BatchError,
    CheckpointError,
    DeviceError,
    ExportError,
    ImageError,
    MissingPackageError,
    PrecisionError,
    RepairError,
    ScaleError,
    SizeError,
    SpanPPError,
    StoreError,
    TrainingError,
    VideoError,
)
from .host_models import as_spanpp, file_weights

__version__ = "0.1.0"

__all__ = [
    "BACKENDS",
    "FRACTIONAL",
    "TO_MULTIPLE",
    "Backend",
    "BatchError",
    "Checkpoint",
    "CheckpointError",
    "DeviceError",
    "ExportError",
    "Fractional",
    "ImageError",
    "MissingPackageError",
    "PrecisionError",
    "RepairError",
    "ScaleError",
    "Size",
    "SizeError",
    "SpanPPArch",
    "SpanPPDescriptor",
    "SpanPPError",
    "StoreError",
    "ToMultiple",
    "TrainingError",
    "Upscaling",
    "VideoError",
    "__version__",
    "as_spanpp",
    "bundled_model",
    "bundled_photo",
    "errors",
    "export",
    "fastest_dtype",
    "file_weights",
    "fitting_dtype",
    "install",
    "load",
    "parse",
    "parse_factor",
    "prepare",
    "read",
    "split_view",
    "upscale",
    "values_outside",
    "video",
    "write_slim",
]
