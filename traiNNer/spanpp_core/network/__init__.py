"""A copy of a part of SpanPP's package, made by upstream/copy_core.py: do not edit."""
