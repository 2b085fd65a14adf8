"""What comes in by an UPSCALE_MODEL socket."""

from __future__ import annotations

from ...spanpp_core import SpanPPDescriptor


def as_spanpp(model: object) -> SpanPPDescriptor:
    """Returns ``model`` as the SpanPP model it must be.

    Raises:
        TypeError: It is another network; the message names it.
    """
    if isinstance(model, SpanPPDescriptor):
        return model
    architecture = getattr(model, "architecture", None)
    found = getattr(architecture, "name", type(model).__name__)
    raise TypeError(
        f"this is a {found} model and not SpanPP; connect Load SpanPP, or use"
        " 'Upscale Image (using Model)' for it"
    )
