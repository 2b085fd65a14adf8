"""Image files in and out.

`picture` is what passes between files and the engine. `vips` reads and writes it by
libvips. Where that is not installed, as in a stock ComfyUI, `pillow` does: 8 bits only.
"""

from .picture import IMAGE_SUFFIXES, Header, Picture, check_writable

try:
    from .vips import header, read, write
except (ImportError, OSError):  # OSError: the package without its library
    from .pillow import header, read, write

__all__ = [
    "IMAGE_SUFFIXES",
    "Header",
    "Picture",
    "check_writable",
    "header",
    "read",
    "write",
]
