"""Videos, through PyAV: decoded, upscaled and encoded frame by frame.

As a frame flows: `source` -> `colour` -> the engine -> `colour` -> `encoder` ->
`segments` -> `remux`; `upscaling` leads it, and all of them use `pyav`.
"""

from ..errors import VideoError
from .encoder import CODECS, WRITABLE
from .source import VIDEO_SUFFIXES
from .upscaling import Summary, fingerprint, upscale_video

__all__ = [
    "CODECS",
    "VIDEO_SUFFIXES",
    "WRITABLE",
    "Summary",
    "VideoError",
    "fingerprint",
    "upscale_video",
]
