"""Muon with a LARS trust ratio: orthogonalised momentum, scaled to each weight's norm.

The gradient of a convolution, as a matrix, has few large singular values and many small
ones. Adam follows the large ones; Muon sets all of them to about 1 (K. Jordan et al.,
"Muon: an optimizer for hidden layers in neural networks", 2024). The trust ratio makes a
step a share of the weight's norm (You et al., "Large batch training of convolutional
networks", 2017). PyTorch's own Muon takes matrices only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

_MOMENTUM = 0.95


def split(
    network: nn.Module, ends: tuple[str, ...] = ("conv0.", "upsampler.")
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Returns the body's matrices, which are Muon's, and all other parameters.

    The first convolution, which sees pixels, and the kernel generator, whose last layer
    moves every pixel of the image, are better off with Adam.

    Args:
        network: SpanPP in its training form, or another of convolutions.
        ends: What the names of the parameters at its ends begin with.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        inner = not name.startswith(ends)
        (matrices if inner and parameter.ndim == 4 else others).append(parameter)
    return matrices, others


class Muon(torch.optim.Optimizer):
    """Changes each weight by ``lr`` times its own norm a step, along the momentum.

    Args:
        params: Convolution weights, (O, I, K, K); each is the matrix (O, I*K*K).
        lr: The length of a step, as a share of the weight's norm.
        weight_decay: The share of itself that a weight loses in a step, over ``lr``. Steps
            of a fixed share make weights longer: without it, in tens of thousands of them,
            long enough for training to fail.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float | Tensor,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @override
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore
        """Makes a step with the gradients at hand."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    alike.setdefault(weight.shape, []).append(weight)
            for weights in alike.values():
                self._step(weights, group["lr"], group["weight_decay"])

    def _step(
        self, weights: list[Tensor], rate: float | Tensor, weight_decay: float
    ) -> None:
        """Weights of one shape, as one batch of matrices (N, O, I*K*K)."""
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        momenta = [self.state[weight]["momentum"] for weight in weights]
        grads = [cast(Tensor, weight.grad) for weight in weights]
        torch._foreach_lerp_(momenta, grads, 1 - _MOMENTUM)  # pyright: ignore
        ahead = torch.stack(
            torch._foreach_lerp(grads, momenta, _MOMENTUM)  # pyright: ignore
        )
        way = orthogonal(ahead.flatten(2)).view_as(ahead)
        sizes = torch.stack(torch._foreach_norm(weights))  # pyright: ignore
        lengths = way.square().sum((1, 2, 3, 4)).clamp_min(1e-9).sqrt()
        way.mul_((-rate * sizes / lengths).view(-1, 1, 1, 1, 1))
        if weight_decay:
            torch._foreach_mul_(weights, 1 - rate * weight_decay)  # pyright: ignore
        torch._foreach_add_(weights, way.unbind())  # pyright: ignore


def orthogonal(matrices: Tensor) -> Tensor:
    """Brings the singular values of matrices (N, R, C) near 1, by Newton-Schulz.

    Five rounds of the quintic of the paper: between 0.7 and 1.2, for all but the
    smallest.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / x.square().sum((1, 2), keepdim=True).sqrt().clamp_min(1e-9)
    for _ in range(5):
        square = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.transpose(1, 2) if tall else x
