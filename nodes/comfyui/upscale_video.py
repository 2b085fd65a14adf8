"""Upscale Video: a file to a file, frame by frame; the clip is never in memory."""

from __future__ import annotations

import hashlib
import io as streams
import time
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import InputImpl, io
from typing_extensions import override

from ...spanpp_core import Size, prepare
from ...spanpp_core.video import CODECS, fingerprint, upscale_video
from .compatibility import ADVANCED, node_schema, one_of
from .device import bring_to_device, load_device
from .inputs import AUTO, PRECISIONS, chosen_dtype
from .model_socket import as_spanpp
from .progress import FrameProgress, show_text

CONTAINERS = ("mp4", "mkv", "mov")


class SpanPPUpscaleVideo(io.ComfyNode):
    """Upscales a video into ComfyUI's temporary folder."""

    @override
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SpanPPUpscaleVideo",
            display_name="Upscale Video (SpanPP)",
            description=(
                "Upscales a video by the model's scale, frame by frame: any length fits"
                " into memory. Sound, frame times, depth and colours are kept."
            ),
            search_aliases=["video super resolution", "enlarge video", "upscale clip"],
            inputs=[
                io.UpscaleModel.Input(
                    "model",
                    tooltip="A SpanPP model, bound to a scale by Set Scale or not.",
                ),
                io.Video.Input("video", tooltip="The video to upscale, of any length."),
                io.Combo.Input(
                    "codec",
                    options=list(CODECS),
                    tooltip=(
                        "Encoder of the result: libx264 plays everywhere, libx265 and"
                        " libsvtav1 are smaller, prores_ks is for editing, ffv1 lossless."
                    ),
                ),
                io.Combo.Input(
                    "container",
                    options=list(CONTAINERS),
                    tooltip="Kind of file: mkv takes every codec and sound.",
                ),
                io.Combo.Input(
                    "precision",
                    options=[AUTO, *PRECISIONS],
                    default=AUTO,
                    tooltip=(
                        "Number format of the network: 'auto' is the fastest of the"
                        " device that stays within 1/255 of float32."
                    ),
                    **ADVANCED,
                ),
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
        cls, model: object, video: Any, codec: str, container: str, precision: str
    ) -> io.NodeOutput:
        began = time.monotonic()
        one_of("codec", codec, CODECS)
        one_of("container", container, CONTAINERS)
        spanpp = as_spanpp(model)
        device = load_device(spanpp)
        dtype = chosen_dtype(precision, device)
        width, height = video.get_dimensions()
        run = prepare(spanpp, (height, width), dtype=dtype, device=device)
        bring_to_device(spanpp, run.working_memory)
        cast = spanpp.with_dtype(dtype)
        folder = Path(folder_paths.get_temp_directory()) / "spanpp"
        folder.mkdir(parents=True, exist_ok=True)
        source = _source_file(video, folder)
        # equal work has an equal name: it is found finished, or goes on where it stopped
        name = f"{fingerprint(cast, source)[:16]}-x{spanpp.scale:.6g}-{codec}"
        result = folder / f"{name}.{container}"
        info = f"{width}x{height} px · x{spanpp.scale:.4g} · {codec} · "
        if result.exists():
            info += "already there"
        else:
            made = upscale_video(
                cast,
                source,
                result,
                Size(),
                codec=codec,
                on_progress=FrameProgress(),
            )
            info += f"{made.frames} frames · {time.monotonic() - began:.2f} s"
        show_text(cls, info)
        return io.NodeOutput(InputImpl.VideoFromFile(str(result)))


def _source_file(video: Any, folder: Path) -> Path:
    """Returns a video as a file, as it is cut by nodes before; its own if it has one."""
    window = getattr(video, "get_active_trim_window", None)  # newer hosts cut videos
    cut = window() if window else (0.0, 0.0)
    source = _stream_source(video, folder)
    if not any(cut) and not isinstance(source, streams.BytesIO):
        return Path(source)
    if isinstance(source, streams.BytesIO):
        digest = hashlib.sha256(source.getbuffer())
    else:
        digest = hashlib.sha256(f"{source} {Path(source).stat().st_mtime_ns}".encode())
    digest.update(str(cut).encode())
    copy = folder / f"{digest.hexdigest()[:16]}.mp4"
    if not copy.exists():
        partial = copy.with_suffix(".partial.mp4")
        if any(cut):
            video.save_to(str(partial))
        else:
            partial.write_bytes(source.getbuffer())
        partial.replace(copy)
    return copy


def _stream_source(video: Any, folder: Path) -> Any:
    """Returns a video's file, or its bytes where it was made of images."""
    try:
        return video.get_stream_source()
    except ValueError:  # older hosts write what was made of images to a named file only
        made = folder / "made.mp4"
        video.save_to(str(made))
        try:
            return streams.BytesIO(made.read_bytes())
        finally:
            made.unlink()
