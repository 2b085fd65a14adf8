"""Checkpoints: whatever file they come in, one canonical form.

The canonical state dict is the one `SpanPP` has: fused convolutions, the kernel
generator and ``MetaIGConv``, all floats in float32. Whatever a file looks like on the
outside (wrappers, prefixes, training branches, half precision), `parse` brings it here
or says in one line why it cannot. `find` knows names, `canonical` knows tensors,
`files`, `slim` and `metadata` know bytes, `pickles` knows what strangers may put into a
file, and `repair` knows what lies between two files.
"""

from .canonical import Checkpoint, parse
from .files import SUFFIXES, read, read_tensors
from .find import find, is_spanpp
from .repair import Source, repair_file, repaired
from .slim import slim_content, tensors_of_content, write_slim

__all__ = [
    "SUFFIXES",
    "Checkpoint",
    "Source",
    "find",
    "is_spanpp",
    "parse",
    "read",
    "read_tensors",
    "repair_file",
    "repaired",
    "slim_content",
    "tensors_of_content",
    "write_slim",
]
