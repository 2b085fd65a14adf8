"""SpanPP for ComfyUI: this repository, cloned into ``custom_nodes``, is the pack."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes.comfyui import SpanPPExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> SpanPPExtension:
    """Returns the pack's nodes, and lets every loader of the host read SpanPP files.

    Imports are here so that importing the pack needs no ComfyUI. The host's ``on_load``
    would be the place to install; older hosts never call it.
    """
    from .nodes.comfyui import SpanPPExtension  # noqa: PLC0415
    from .spanpp_core import install  # noqa: PLC0415

    install()
    return SpanPPExtension()
