"""Videos, through PyAV: decoded, upscaled and encoded frame by frame.

As a frame flows: `source` -> `decoder` -> `colour` -> the engine -> `colour` -> `encoder` ->
`segments` -> `remux`; `upscaling` leads it in the threads of `stages`. `codecs` says what
can be written, and all of them use `pyav`. `image_sequence` writes images in memory as a
video.
"""

from ..errors import VideoError
from .codecs import CODECS, codecs_here
from .encoder import WRITABLE
from .image_sequence import Sound, write_images
from .source import VIDEO_SUFFIXES, probe
from .upscaling import Summary, fingerprint, upscale_video

__all__ = [
    "CODECS",
    "VIDEO_SUFFIXES",
    "WRITABLE",
    "Sound",
    "Summary",
    "VideoError",
    "codecs_here",
    "fingerprint",
    "probe",
    "upscale_video",
    "write_images",
]
