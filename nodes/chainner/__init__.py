"""SpanPP's nodes for chaiNNer: load, set the scale, upscale.

Installed as the package ``spanpp_chainner`` into chaiNNer's own Python. This module is
imported whenever that Python starts, so it must stay empty; see ``_hook``.
"""
