"""Image files in and out: `files` reads and writes them by libvips."""

from .files import IMAGE_SUFFIXES, Header, Picture, check_writable, header, read, write

__all__ = [
    "IMAGE_SUFFIXES",
    "Header",
    "Picture",
    "check_writable",
    "header",
    "read",
    "write",
]
