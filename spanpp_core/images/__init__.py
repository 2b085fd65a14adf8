"""Image files in and out.

In reading order: `picture` is what passes between files and the engine. `vips` reads and
writes it by libvips; where that is not installed, as in a stock ComfyUI, `pillow` does: 8
bits only. `exr` reads and writes OpenEXR. `files` picks one of them.
"""

from .files import header, read, write
from .picture import IMAGE_SUFFIXES, Header, Picture, check_writable

__all__ = [
    "IMAGE_SUFFIXES",
    "Header",
    "Picture",
    "check_writable",
    "header",
    "read",
    "write",
]
