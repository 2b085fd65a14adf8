"""SpanPP's ComfyUI nodes: thin shells over `spanpp_core`, one module a node.

Imports are relative throughout: ComfyUI loads the pack under its path, which is not on
``sys.path``, and the core must be loaded once, under one name.
"""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io
from typing_extensions import override

from .compare import SpanPPCompare
from .demo_photo import SpanPPDemoPhoto
from .export import SpanPPExport
from .load_model import SpanPPLoadModel
from .model_info import SpanPPModelInfo
from .output_folder import list_own_models
from .save_slim import SpanPPSaveSlim
from .set_scale import SpanPPSetScale
from .upscale import SpanPPUpscale
from .upscale_folder import SpanPPUpscaleFolder
from .upscale_video import SpanPPUpscaleVideo


class SpanPPExtension(ComfyExtension):
    """The pack, as ComfyUI asks for it."""

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        list_own_models()
        return [
            SpanPPLoadModel,
            SpanPPSetScale,
            SpanPPUpscale,
            SpanPPUpscaleVideo,
            SpanPPUpscaleFolder,
            SpanPPCompare,
            SpanPPModelInfo,
            SpanPPSaveSlim,
            SpanPPExport,
            SpanPPDemoPhoto,
        ]
