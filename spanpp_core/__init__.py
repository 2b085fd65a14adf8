"""SpanPP: super-resolution at any scale, picked at run time.

Data flows one way: checkpoint -> network -> descriptor -> engine -> node or command.
"""

from .checkpoint import Checkpoint
from .descriptor import (
    SpanPPArch,
    SpanPPDescriptor,
    bundled_model,
    bundled_photo,
    install,
    load,
)
from .engine.run import upscale
from .engine.target import Method, Target, upscale_to
from .errors import CheckpointError, ScaleError

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Method",
    "ScaleError",
    "SpanPPArch",
    "SpanPPDescriptor",
    "Target",
    "bundled_model",
    "bundled_photo",
    "install",
    "load",
    "upscale",
    "upscale_to",
]
