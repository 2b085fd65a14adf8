"""Writes the result that the self-test of `spanpp doctor` compares with.

Needed once for new bundled weights: float32, on the CPU, by PyTorch as it is.

Run: python benchmarks/self_test_result.py
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

import spanpp_core
from spanpp_core.diagnosis import SELF_TEST

TOP, LEFT, HEIGHT, WIDTH = 240, 400, 48, 64
"""The piece of the bundled photo: an eye and fur around it."""


def main() -> None:
    """Writes the file."""
    photo = np.asarray(Image.open(spanpp_core.bundled_photo()).convert("RGB"))
    crop = photo[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
    image = torch.from_numpy(crop.copy()).movedim(-1, 0).contiguous()
    model = spanpp_core.load(spanpp_core.bundled_model()).at_scale(2)
    pixels = image.float()[None] / 255
    result = spanpp_core.upscale(model.with_backend("torch"), pixels)[0]
    stored = {"image": image, "result": (result * 255).round().byte()}
    save_file(stored, SELF_TEST)
    print(f"{SELF_TEST} written")


if __name__ == "__main__":
    main()
