"""What makes one SpanPP network different from another."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hyperparameters:
    """What the shapes of a checkpoint say about the network."""

    channels: int = 48
    """C, feature channels of the body."""
    in_channels: int = 3
    """Channels of the input image; the output always has 3."""
    kernel_size: int = 3
    """K, kernel size of the upsampler's convolution; odd."""
    implicit_dim: int = 256
    """D, width of the kernel generator; even."""
    latent_layers: int = 4
    """L, hidden layers of the kernel generator."""
    scales: tuple[int, ...] = (1, 2, 3, 4)
    """S, the whole scales trained on, ascending."""

    @property
    def default_scale(self) -> int:
        """The initial scale: 2 if trained on it, otherwise the largest."""
        return 2 if 2 in self.scales else self.scales[-1]
