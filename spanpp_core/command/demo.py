"""``spanpp demo``: the bundled weights on the bundled photo, against bicubic."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table
from torch import Tensor

from .. import images
from ..descriptor import bundled_model, bundled_photo, load
from ..engine.size import Size
from ..engine.upscaling import upscale
from ..metrics import psnr_y
from ..resize import resize

SCALES = (1.5, 2, 2.5, 3, 4)

DETAIL = (160, 460, 280, 440)
"""The crop that is shown: top, left, height, width in pixels."""

CAPTION_HEIGHT = 30
GAP = 6

REPAIRS = (0, 0.5, 1)

QUALITIES = (50, 75)
"""Of the JPEGs that are repaired, as libjpeg counts."""

Rows = list[list[tuple[str, Tensor]]]
"""A caption and an image (1, 3, H, W) in [0, 1] for each cell of a picture."""


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write to.")
    ] = Path("demo"),
) -> None:
    """Upscale the bundled photo at x1.5 to x4 and compare with bicubic.

    The photo is downscaled by each factor, upscaled back and compared with the
    original; then the same at x2 from JPEGs, with and without repair. Prints PSNR on Y
    in dB; writes comparison.png and repair.png.
    """
    model = load(bundled_model())
    original = images.read(bundled_photo()).pixels
    height, width = original.shape[-2:]
    out.mkdir(parents=True, exist_ok=True)
    table = Table("scale", "from", "bicubic dB", "SpanPP dB", "gain dB")
    rows: Rows = []
    for scale in SCALES:
        small = resize(original, (round(height / scale), round(width / scale)))
        upscaled = upscale(model, small, size=Size(factor=scale))
        bicubic = F.interpolate(small, (height, width), mode="bicubic").clamp_(0, 1)
        border = math.ceil(scale)
        ours, theirs = (psnr_y(x, original, border) for x in (upscaled, bicubic))
        images.write(out / f"input_x{scale}.png", images.Picture(small, 8))
        images.write(out / f"spanpp_x{scale}.png", images.Picture(upscaled, 8))
        table.add_row(
            f"x{scale}",
            f"{small.shape[-1]}x{small.shape[-2]}",
            f"{theirs:.2f}",
            f"{ours:.2f}",
            f"{ours - theirs:+.2f}",
        )
        rows.append(
            [
                (f"x{scale}  input", F.interpolate(small, (height, width))),
                (f"bicubic  {theirs:.2f} dB", bicubic),
                (f"SpanPP  {ours:.2f} dB", upscaled),
                ("original", original),
            ]
        )
    _comparison(rows).save(out / "comparison.png")
    repairs = Table(
        "x2 from JPEG", "bicubic dB", *(f"repair {r:g} dB" for r in REPAIRS)
    )
    rows = [_repaired(original, quality, repairs) for quality in QUALITIES]
    _comparison(rows).save(out / "repair.png")
    console = Console()
    console.print(table)
    console.print(repairs)
    print(
        f"wrote {out / 'comparison.png'}, {out / 'repair.png'} and the images beside them"
    )


def _repaired(original: Tensor, quality: int, table: Table) -> list[tuple[str, Tensor]]:
    """Returns a row of an upscaled JPEG, and adds its PSNR to the table."""
    height, width = original.shape[-2:]
    small = resize(original, (height // 2, width // 2))
    stream = io.BytesIO()
    pixels = small[0].movedim(0, -1).mul(255).round().byte().numpy()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    small = torch.from_numpy(np.array(Image.open(stream))).movedim(-1, 0)[None] / 255
    bicubic = F.interpolate(small, (height, width), mode="bicubic").clamp_(0, 1)
    made = [(f"JPEG {quality} at x2, bicubic", bicubic)]
    for repair in REPAIRS:
        model = load(bundled_model(), repair=repair).at_scale(2)
        made.append((f"repair {repair:g}", upscale(model, small)))
    scores = [psnr_y(image, original, 2) for _, image in made]
    table.add_row(f"quality {quality}", *(f"{score:.2f}" for score in scores))
    return [
        (f"{name}  {score:.2f} dB", image) for (name, image), score in zip(made, scores)
    ]


def _comparison(rows: Rows) -> Image.Image:
    """Draws one row per scale, one captioned detail per column."""
    top, left, height, width = DETAIL
    cell_width, cell_height = width + GAP, height + CAPTION_HEIGHT
    size = (len(rows[0]) * cell_width + GAP, len(rows) * cell_height + GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=18)
    for i, row in enumerate(rows):
        for j, (caption, pixels) in enumerate(row):
            x, y = GAP + j * cell_width, i * cell_height
            draw.text((x, y + 5), caption, "black", font)
            detail = pixels[0, :, top : top + height, left : left + width]
            array = detail.movedim(0, -1).mul(255).round().numpy().astype(np.uint8)
            sheet.paste(Image.fromarray(array), (x, y + CAPTION_HEIGHT))
    return sheet
