"""Checkpoints: whatever file they come in, one canonical form.

The canonical state dict is the one `SpanPP` has: fused convolutions, the kernel
generator and ``MetaIGConv``, all floats in float32. Whatever a file looks like on the
outside (wrappers, prefixes, training branches, half precision), `parse` brings it here
or says in one line why it cannot. `find` knows names, `canonical` knows tensors,
`files` knows bytes.
"""

from .canonical import Checkpoint, parse
from .files import CONTINUOUS, SUFFIXES, read, read_tensors, write_slim
from .find import find, is_spanpp

__all__ = [
    "CONTINUOUS",
    "SUFFIXES",
    "Checkpoint",
    "find",
    "is_spanpp",
    "parse",
    "read",
    "read_tensors",
    "write_slim",
]
