"""The losses that a network can be trained with, by name.

Each takes what the network made and the original, (N, 3, H, W) in [0, 1], and returns a
scalar. Muon and Adam follow its direction alone: how large it is does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["l1", "charbonnier", "mse", "l1+fft"]

Loss = Callable[[Tensor, Tensor], Tensor]


def charbonnier(made: Tensor, original: Tensor) -> Tensor:
    """Returns the mean of sqrt(d^2 + 0.001^2): L1 with a rounded tip."""
    return ((made - original).square() + 1e-6).sqrt().mean()


def l1_and_spectrum(made: Tensor, original: Tensor) -> Tensor:
    """Returns L1 and a twentieth of the mean distance of the Fourier coefficients.

    As IGConv, SPANV2 and SAFMN were trained.
    """
    difference = made - original
    spectrum = cast(Tensor, torch.fft.rfft2(difference.float()))  # pyright: ignore
    return difference.abs().mean() + 0.05 * torch.view_as_real(spectrum).abs().mean()


LOSSES: Mapping[LossName, Loss] = {
    "l1": F.l1_loss,
    "charbonnier": charbonnier,
    "mse": F.mse_loss,
    "l1+fft": l1_and_spectrum,
}
