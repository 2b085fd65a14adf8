"""HDR videos: tags and depth are kept, and highlights above white."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import contents

import spanpp_core
from spanpp_core.video import upscale_video
from spanpp_core.video.decoder import decoded, pixels
from spanpp_core.video.source import probe

BT2020, BT2020_MATRIX = 9, 9
PQ, HLG = 16, 18
TWICE = spanpp_core.Size(factor=2)


def write_luma(
    path: Path, luma: np.ndarray, transfer: int, codec: str = "ffv1"
) -> Path:
    """Writes three grey frames of 10 bits whose luma has the given code values (H, W)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.height, stream.width = luma.shape
        stream.pix_fmt = "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc = BT2020, transfer
        context.colorspace, context.color_range = BT2020_MATRIX, 1
        half = np.full((luma.shape[0] // 2, luma.shape[1] // 2), 512, np.uint16)
        for index in range(3):
            frame = av.VideoFrame(luma.shape[1], luma.shape[0], "yuv420p10le")
            for plane, values in zip(frame.planes, (luma, half, half)):
                rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                rows[:, : plane.width] = values
                plane.update(rows.tobytes())
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("codec", ["libx265", "libsvtav1", "ffv1"])
def test_tags_and_depth_of_hdr_are_kept(tmp_path, model, transfer, codec):
    # AV1 takes no smaller pictures
    source = write_luma(
        tmp_path / "in.mkv", np.full((64, 64), 600, np.uint16), transfer
    )
    before = contents(source).video
    assert (before["transfer"], before["primaries"]) == (transfer, BT2020)
    upscale_video(model, source, tmp_path / "out.mkv", TWICE, codec=codec)
    after = contents(tmp_path / "out.mkv").video
    kept = ("format", "range", "matrix", "primaries", "transfer")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


@pytest.mark.parametrize(("transfer", "most"), [(HLG, 1000), (PQ, 940)])
def test_highlights_above_white_are_kept_where_the_transfer_has_them(
    tmp_path, transfer, most
):
    """Code value 940 is white, and 1000 a highlight of 1.07."""
    model = spanpp_core.load(spanpp_core.bundled_model())
    luma = np.full((48, 48), 500, np.uint16)
    luma[12:36, 12:36] = 1000
    source = write_luma(tmp_path / "in.mkv", luma, transfer)
    upscale_video(model, source, tmp_path / "out.mkv", TWICE, codec="ffv1")
    made = probe(tmp_path / "out.mkv")
    frames = [frame for _, _, frame in decoded(made)]
    middle = np.frombuffer(frames[1].planes[0], np.uint16)
    middle = middle.reshape(96, -1)[40:56, 40:56].astype(float)
    assert middle.mean() == pytest.approx(most, abs=2)
    corner = pixels(made, frames[1], torch.device("cpu"))[..., :6, :6]
    assert float(corner.mean()) == pytest.approx((500 - 64) / 876, abs=0.01)
