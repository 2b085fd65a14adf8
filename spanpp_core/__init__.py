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
from .engine.run import auto_tile, upscale, working_memory
from .engine.target import METHODS, Method, Target, upscale_to
from .errors import CheckpointError, ScaleError
from .received import as_spanpp, file_weights

__all__ = [
    "BACKENDS",
    "METHODS",
    "Backend",
    "Checkpoint",
    "CheckpointError",
    "Method",
    "ScaleError",
    "SpanPPArch",
    "SpanPPDescriptor",
    "Target",
    "as_spanpp",
    "auto_tile",
    "bundled_model",
    "bundled_photo",
    "fastest_dtype",
    "file_weights",
    "install",
    "load",
    "parse",
    "split_view",
    "upscale",
    "upscale_to",
    "working_memory",
    "write_slim",
]
