"""Image files of noise, for what reads files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvips


def noise(height: int, width: int, channels: int, dtype: type) -> np.ndarray:
    top = np.iinfo(dtype).max
    values = np.random.default_rng(0).integers(0, top + 1, (height, width, channels))
    return values.astype(dtype)


def write(path: Path, pixels: np.ndarray) -> Path:
    kinds = {("uint8", False): "b-w", ("uint8", True): "srgb"}
    kinds |= {("uint16", False): "grey16", ("uint16", True): "rgb16"}
    kind = kinds[pixels.dtype.name, pixels.shape[2] > 2]
    pyvips.Image.new_from_array(pixels).copy(interpretation=kind).write_to_file(
        str(path)
    )
    return path
