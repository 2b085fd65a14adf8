"""Rounds weights to float16 so that flat colours stay what they are.

Rounding each weight to its nearest shifts a flat colour by up to 0.1/255 more than float32
weights do, a repair model's by 0.2. Here the last 1x1 convolution of the body makes up for
it: a least-squares change of it puts flat colours right behind the rounded layers, and it
is rounded one input at a time, what each leaves over being carried by the inputs that
follow (error feedback, as in GPTQ, Frantar et al., 2023).

    python recipes/round_to_float16.py run/spanpp.safetensors rounded.safetensors
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from spanpp_core import checkpoint
from spanpp_core.training.brightness import (
    inside_flat,
    mean_maps,
    reach_of,
    ridge_inverse,
)
from spanpp_core.training.colours import flat_colours
from spanpp_core.training.initial_network import plain

SCALES = [Fraction(scale) for scale in (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 8)]
"""Where flat colours are put right."""

RIDGES = (5e-3, 1e-2)
"""The share of the largest singular value below which colours, and what reaches the pixels,
are left alone: smaller ones take 0.02 dB and more from photos."""

ROUNDS = 3
"""The ridges leave a part of the shift; two further rounds correct most of it."""

LAST = "conv_cat"


def rounded(found: checkpoint.Checkpoint) -> checkpoint.Checkpoint:
    """Returns float32 weights of which each is a float16 number."""
    state = {
        name: each.half().float()
        if each.is_floating_point() and not name.startswith(LAST)
        else each
        for name, each in found.state_dict.items()
    }
    network = plain(found.hyper, state).requires_grad_(False)
    weight, bias = (state[f"{LAST}.{part}"] for part in ("weight", "bias"))
    joined = torch.cat([weight.flatten(1).T, bias[None]]).double()  # (4 * C + 1, C)
    colours = flat_colours()
    maps = mean_maps(inside_flat(network), colours[:, :, None, None])
    network.conv_cat.bias.requires_grad_()
    reach = torch.cat([reach_of(network, scale) for scale in SCALES]).double()
    wanted = colours.double().repeat(1, len(SCALES))
    to_change, to_features = map(ridge_inverse, (maps, reach), RIDGES)
    for _ in range(ROUNDS):
        joined = joined - to_change @ (maps @ joined @ reach.T - wanted) @ to_features.T
    joined = with_error_feedback(joined, maps).float()
    state[f"{LAST}.weight"] = joined[:-1].T.reshape(weight.shape).contiguous()
    state[f"{LAST}.bias"] = joined[-1]
    return replace(found, state_dict=state)


def with_error_feedback(weights: Tensor, inputs: Tensor) -> Tensor:
    """Rounds a linear layer to float16 numbers so that what it makes of inputs stays.

    Args:
        weights: (K, C), float64.
        inputs: (N, K), float64.

    Returns:
        (K, C), float64.
    """
    gram = inputs.T @ inputs
    order = gram.diagonal().argsort(descending=True)
    gram = gram[order][:, order]
    gram += 1e-4 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    carry = torch.linalg.cholesky(torch.linalg.inv(gram), upper=True)
    left, made = weights[order], torch.empty_like(weights)
    for i, place in enumerate(order):
        made[place] = left[i].half().double()
        left[i + 1 :] -= (
            torch.outer(carry[i, i + 1 :], left[i] - made[place]) / carry[i, i]
        )
    return made


def main() -> None:
    """Reads one file and writes the other, a slim float16 file."""
    parser = argparse.ArgumentParser(
        description="Rounds weights to float16 so that flat colours stay what they are."
    )
    parser.add_argument("weights", type=Path, help="a SpanPP file")
    parser.add_argument("out", type=Path, help="the safetensors file to write")
    args = parser.parse_args()
    try:
        made = rounded(checkpoint.read(args.weights))
        checkpoint.write_slim(args.out, made, torch.float16)
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
