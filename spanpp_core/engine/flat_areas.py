"""Areas of 0 or of 1 in alpha and masks, which stay exactly that."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .size import OutputSize


def keep_flat_areas(made: Tensor, source: Tensor, output: OutputSize) -> None:
    """Sets results to 0, or to 1, where the source is that all around.

    The network leaves errors of up to 0.01 in flat areas: what was transparent or opaque
    would not be so any more, and a mask would lose its bounding box.

    Args:
        made: (N, 1, *output.sides), on any device; changed in place.
        source: (N, 1, h, w), what it was made from.
        output: The size of the result.
    """
    reach = max(1, *(-(-a // b) for a, b in zip(source.shape[2:], output.picture)))
    rows, cols = (
        _nearest_edges(cells, sides)[kept].to(made.device)
        for sides, kept, cells in zip(output.picture, output.window, source.shape[2:])
    )
    for i in range(len(source)):  # one at a time: memory
        mask, place = source[i : i + 1], made[i : i + 1]
        for value, differs in ((0, mask > 0), (1, mask < 1)):
            # (1, 1, h + 1, w + 1): around each corner of the cells
            around = F.max_pool2d(differs.float(), 2 * reach, 1, reach)
            flat = (around == 0).to(made.device)
            place.masked_fill_(flat[:, :, rows[:, None], cols], value)


def _nearest_edges(cells: int, sides: int) -> Tensor:
    """Returns the edge between cells, from 0 to ``cells``, nearest to each pixel."""
    pixels = torch.arange(sides, device="cpu")
    return ((2 * pixels + 1) * cells + sides) // (2 * sides)
