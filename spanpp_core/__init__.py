"""SpanPP: super-resolution at any scale, picked at run time.

Data flows one way: checkpoint -> network -> descriptor -> engine -> node or command.
"""

from .backends import BACKENDS, Backend
from .checkpoint import Checkpoint, parse, write_slim
from .descriptor import (
    SpanPPArch,
    SpanPPDescriptor,
    bundled_model,
    bundled_photo,
    install,
    load,
)
from .engine.compare import split_view
from .engine.precision import fastest_dtype
from .engine.size import (
    FRACTIONAL,
    TO_MULTIPLE,
    Fractional,
    Size,
    ToMultiple,
    parse_factor,
)
from .engine.upscaling import Upscaling, prepare, upscale
from .errors import (
    CheckpointError,
    ExportError,
    ImageError,
    MissingPackageError,
    ScaleError,
    SizeError,
    SpanPPError,
    StoreError,
    TrainingError,
    VideoError,
)
from .received import as_spanpp, file_weights

__all__ = [
    "BACKENDS",
    "FRACTIONAL",
    "TO_MULTIPLE",
    "Backend",
    "Checkpoint",
    "CheckpointError",
    "ExportError",
    "Fractional",
    "ImageError",
    "MissingPackageError",
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
    "as_spanpp",
    "bundled_model",
    "bundled_photo",
    "fastest_dtype",
    "file_weights",
    "install",
    "load",
    "parse",
    "parse_factor",
    "prepare",
    "split_view",
    "upscale",
    "write_slim",
]
