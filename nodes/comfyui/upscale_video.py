"""Upscale Video: a file to a file, frame by frame; the clip is never in memory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import InputImpl, io
from typing_extensions import override

from ...spanpp_core import FRACTIONAL, TO_MULTIPLE, Fractional, ToMultiple, prepare
from ...spanpp_core.errors import MissingPackageError
from ...spanpp_core.video import CODECS, codecs_here, fingerprint, probe, upscale_video
from .any_model import as_spanpp
from .compatibility import node_schema, one_of
from .device import bring_to_device, load_device
from .inputs import (
    ANY,
    AUTO,
    MODEL_SCALE,
    chosen_dtype,
    run_inputs,
    size_inputs,
    wanted_size,
)
from .progress import FrameProgress, show_text
from .video_file import file_of

CONTAINERS = ("mp4", "mkv")
"""
What Save Video stores as it is. It writes .mp4 unless it is told otherwise, which takes
neither ProRes nor the subtitles of Matroska.
"""

NOT_SAVED = ("prores_ks",)
"""Codecs that Save Video takes in no container by default."""

USUAL = -1
"""The quality that stands for the codec's own."""


class SpanPPUpscaleVideo(io.ComfyNode):
    """Upscales a video into ComfyUI's temporary folder."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        precision, *others = run_inputs()
        return node_schema(
            node_id="SpanPPUpscaleVideo",
            display_name="Upscale Video (SpanPP)",
            description=(
                "Upscales a video by the model's scale or to a size, frame by"
                " frame, so it can have any length. Sound, frame times, depth and"
                " colours are kept."
            ),
            search_aliases=[
                *(
                    "video super resolution",
                    "enlarge video",
                    "upscale clip",
                    "video upscale",
                ),
                *("video upscaler", "4k video", "视频超分", "放大视频", "動画を拡大"),
            ],
            inputs=[
                io.UpscaleModel.Input(
                    "model",
                    tooltip="A SpanPP model, with or without a scale from Set Scale.",
                ),
                io.Video.Input("video", tooltip="The video to upscale, of any length."),
                io.Combo.Input(
                    "codec",
                    options=_codecs(),
                    tooltip=(
                        "Encoder of the result. libx264 plays everywhere, libx265"
                        " and libsvtav1 make smaller files, ffv1 is lossless. GPU"
                        " encoders (nvenc, qsv, amf, videotoolbox) are faster; only"
                        " those that work here are listed."
                    ),
                ),
                io.Combo.Input(
                    "container",
                    options=list(CONTAINERS),
                    tooltip=(
                        "File format. Save Video stores mp4 unchanged. mkv also"
                        " keeps subtitles, but then set Save Video's format to mkv"
                        " as well."
                    ),
                ),
                *size_inputs(),
                precision,
                io.Int.Input(
                    "crf",
                    default=USUAL,
                    min=USUAL,
                    max=max(codec.worst for codec in CODECS.values()),
                    optional=True,
                    display_name="quality (crf)",
                    tooltip=(
                        "Lower means better quality and larger files: with libx264,"
                        " 17 is hard to tell from the input and 23 is usual on the"
                        " web. -1: the codec's default. Not used by ffv1."
                    ),
                ),
                *others,
            ],
            outputs=[
                io.Video.Output(
                    "upscaled",
                    display_name="video",
                    tooltip="The larger video, a file in ComfyUI's temporary folder.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @override
    @classmethod
    def execute(
        cls,
        model: object,
        video: Any,
        codec: str,
        container: str,
        size: str | Mapping[str, Any] = MODEL_SCALE,
        multiple_of: str = ANY,
        to_multiple: ToMultiple = TO_MULTIPLE[0],
        crf: int = USUAL,
        precision: str = AUTO,
        tile: int = 0,
        method: Fractional = FRACTIONAL[0],
        **flat: Any,
    ) -> io.NodeOutput:
        began = time.monotonic()
        one_of("codec", codec, _codecs())
        one_of("container", container, CONTAINERS)
        one_of("fractional scales", method, FRACTIONAL)
        wanted = wanted_size(size, flat, multiple_of, to_multiple)
        spanpp = as_spanpp(model)
        device = load_device(spanpp)
        dtype = chosen_dtype(precision, spanpp, device)
        folder = Path(folder_paths.get_temp_directory()) / "spanpp"
        folder.mkdir(parents=True, exist_ok=True)
        source = file_of(video, folder)
        clip = probe(*source)
        run = prepare(
            spanpp,
            (clip.height, clip.width),
            wanted,
            fractional=method,
            tile=tile or None,
            dtype=dtype,
            device=device,
        )
        free = bring_to_device(spanpp, run.working_memory)
        cast = spanpp.with_dtype(dtype)
        quality = None if crf == USUAL or not CODECS[codec].quality else crf
        # equal work has an equal name: it is found finished, or goes on where it stopped
        work = (fingerprint(cast, source.path), *source[1:], run.output, run.scale)
        name = hashlib.sha256(repr((*work, codec, quality)).encode()).hexdigest()[:16]
        result = folder / f"{name}.{container}"
        height, width = run.output_size
        info = f"{clip.width}x{clip.height} → {width}x{height} px · x{run.scale:.5g}"
        info += f" · {codec} · "
        if result.exists():
            info += "already there"
        else:
            made = upscale_video(
                cast,
                source.path,
                result,
                wanted,
                codec=codec,
                crf=quality,
                fractional=method,
                tile=tile or None,
                on_progress=FrameProgress(cls),
                # Save Video drops frames that Matroska stores out of order
                b_frames=container != "mkv",
                start=source.start,
                end=source.end,
                free=free,
            )
            info += f"{made.frames} frames · {time.monotonic() - began:.2f} s"
            if made.left_out:
                info += f" · left out: {', '.join(made.left_out)}"
        show_text(cls, info)
        return io.NodeOutput(InputImpl.VideoFromFile(str(result)))


def _codecs() -> list[str]:
    """Returns the encoders that are offered; those of GPUs where they work."""
    try:
        found = codecs_here()
    except MissingPackageError:  # said when the node runs
        found = list(CODECS)
    return [name for name in found if name not in NOT_SAVED]
