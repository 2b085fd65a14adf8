"""Videos, through PyAV: decoded, upscaled and encoded frame by frame.

As a frame flows: `source` -> `colour` -> the engine -> `colour` -> `encoder` ->
`segments` -> `remux`.
"""

from .encoder import CODECS, WRITABLE
from .pyav import VideoError
from .run import Summary, fingerprint, upscale_video
from .source import READABLE

__all__ = [
    "CODECS",
    "READABLE",
    "WRITABLE",
    "Summary",
    "VideoError",
    "fingerprint",
    "upscale_video",
]
