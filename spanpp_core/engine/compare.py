"""Before and after, side by side in one picture."""

from __future__ import annotations

from torch import Tensor

from ..resize import resize


def split_view(before: Tensor, after: Tensor, divider: float) -> Tensor:
    """Returns ``after`` with ``before``, enlarged to its size, left of a white line.

    Args:
        before: (N, C, h, w) in [0, 1]; enlarged by bicubic interpolation. One image may
            stand before several.
        after: (N, C, H, W) in [0, 1].
        divider: Where the line stands, as a share of the width in [0, 1]. At 0 and 1
            there is none.

    Returns:
        (N, C, H, W), new, in the dtype and on the device of ``after``.

    Raises:
        ValueError: Numbers of images or channels differ, or ``divider`` is out of range.
    """
    if not 0 <= divider <= 1:
        raise ValueError(f"divider is {divider}; expected a share from 0 to 1")
    if before.shape[1] != after.shape[1] or len(before) not in (1, len(after)):
        raise ValueError(
            f"cannot compare {len(before)} images of {before.shape[1]} channels with"
            f" {len(after)} of {after.shape[1]}; expected equal numbers"
        )
    height, width = after.shape[-2:]
    cut = round(width * divider)
    view = after.clone()
    if cut:
        for i in range(len(view)):  # one at a time: batches may be long
            one = before[i : i + 1] if len(before) > 1 else before
            view[i, :, :, :cut] = resize(one, (height, width))[0, :, :, :cut]
    if 0 < cut < width:
        line = max(1, width // 400)
        view[..., max(0, cut - line) : cut + line] = 1
    return view
