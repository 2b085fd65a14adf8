"""Image files in and out: `files` reads and writes them by libvips."""

from .files import READABLE, Header, Picture, check_writable, header, read, write

__all__ = [
    "READABLE",
    "Header",
    "Picture",
    "check_writable",
    "header",
    "read",
    "write",
]
