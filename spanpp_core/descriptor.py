"""The spandrel architecture of SpanPP: detecting, loading, and binding to a scale."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from spandrel import (
    MAIN_REGISTRY,
    Architecture,
    ArchSupport,
    ImageModelDescriptor,
    ModelTiling,
    SizeRequirements,
    StateDict,
)
from torch import Tensor
from typing_extensions import Self, override

from .backends import BACKENDS, Backend, Backends
from .checkpoint import Checkpoint, Source, is_spanpp, parse, repaired
from .devices import device_named
from .network.model import SpanPP


class SpanPPDescriptor(ImageModelDescriptor[SpanPP]):
    """A loaded SpanPP model, bound to one scale.

    Calling it upscales (1, C, H, W) in [0, 1] and clamps the result to [0, 1]; calling
    `model` does the same without clamping.
    """

    scale: int | float  # pyright: ignore[reportIncompatibleVariableOverride]
    """The bound scale: an int when whole, a float otherwise. See `at_scale`."""

    backend: Backend = "auto"
    """The backend that the engine uses; calling the model is always plain PyTorch."""

    def __init__(self, architecture: SpanPPArch, checkpoint: Checkpoint) -> None:
        network = SpanPP.blank(checkpoint.hyper)
        super().__init__(
            network,
            checkpoint.state_dict,
            architecture=architecture,
            purpose="SR",
            tags=[f"{checkpoint.hyper.channels}nf"],
            supports_half=checkpoint.why_not_float16 is None,
            supports_bfloat16=True,
            scale=network.hyper.default_scale,
            input_channels=checkpoint.hyper.in_channels,
            output_channels=3,
            size_requirements=SizeRequirements(),
            tiling=ModelTiling.SUPPORTED,
            call_fn=_called,  # spandrel's own cannot be pickled
        )
        network.requires_grad_(False).train(False)
        self.checkpoint = checkpoint
        """The weights of the file, in float32 on the CPU; see `host_models.file_weights`."""
        self.backends = Backends(network)
        """The compiled networks, shared by all views."""

    @property
    @override
    def dtype(self) -> torch.dtype:
        """The dtype of the convolutions; in bfloat16 the first and last stay float32."""
        return self.model.dtype

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales the model was trained on, ascending."""
        return self.model.hyper.scales

    @property
    def continuous(self) -> bool:
        """Whether the file says that the model was trained on fractional scales too.

        False where only a state dict was read, as by spandrel's loader.
        """
        return self.checkpoint.continuous

    @property
    def repair(self) -> float:
        """Where the weights lie: from 0, clean, to 1, the repair model. See `load`."""
        return self.checkpoint.repair

    def at_scale(self, scale: float) -> Self:
        """Returns a view of this model, bound to another scale.

        The view shares every weight, so moving one moves the other, and keeps whatever
        attributes a host attached. This model is left as it is.

        Args:
            scale: From 1 to 8, whole or fractional.

        Raises:
            ScaleError: ``scale`` is not such a number.
        """
        view = copy.copy(self)
        view._model = self.model.at_scale(scale)
        view.scale = view.model.scale
        return view

    def with_dtype(self, dtype: torch.dtype) -> Self:
        """Returns this model with its convolutions in another dtype, on its device.

        Unlike `to`, it leaves this model as it is. The copy is kept for the next call, for as
        long as the weights of this model are the same: all who ask share it, so it must not
        be changed.

        Args:
            dtype: float32, float16 or bfloat16; the model itself is returned if it is
                of that dtype already.

        Raises:
            PrecisionError: The values of the network are too large for ``dtype``.
        """
        if dtype == self.dtype:
            return self
        self.checkpoint.check_dtype(dtype)
        cast = copy.copy(self)
        network, cast.backends = self.backends.cast(self.model, dtype)
        cast._model = network.at_scale(self.scale)
        return cast

    def with_backend(self, backend: Backend) -> Self:
        """Returns a view of this model that `upscale` runs by another backend.

        Raises:
            ValueError: ``backend`` is none of `BACKENDS`.
        """
        if backend not in BACKENDS:
            raise ValueError(f"backend is {backend!r}; give one of {BACKENDS}")
        view = copy.copy(self)
        view.backend = backend
        return view


def _called(network: SpanPP, image: Tensor) -> Tensor:
    """Returns what a network makes of an image."""
    return network(image)


class SpanPPArch(Architecture[SpanPP]):
    """Detects and loads SpanPP state dicts, training and fused ones alike."""

    def __init__(self) -> None:
        super().__init__(id="SpanPP", detect=is_spanpp)

    @override
    def load(self, state_dict: StateDict) -> SpanPPDescriptor:
        """Loads a state dict, which is left untouched.

        Raises:
            CheckpointError: The state dict is not a whole SpanPP model.
        """
        return SpanPPDescriptor(self, parse(state_dict))


def install() -> None:
    """Registers SpanPP with spandrel, so that every loader built on it reads SpanPP.

    Calling it again changes nothing.
    """
    support = ArchSupport.from_architecture(SpanPPArch())
    MAIN_REGISTRY.add(support, ignore_duplicates=True)


def load(
    source: Source,
    *,
    repair: float = 0.0,
    repair_weights: Source | None = None,
    device: torch.device | str | None = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SpanPPDescriptor:
    """Loads a SpanPP model, ready to run: in evaluation mode and without gradients.

    Args:
        source: The path of a checkpoint file, a state dict, which is left untouched, or
            what `read` or `parse` returned.
        repair: How strongly JPEG artefacts, blur and noise are removed, from 0 to 1. 0
            loads ``source`` as it is, 1 its repair model, and a number between the
            weighted mean of both.
        repair_weights: The repair model; by default the file beside ``source``, such as
            ``model_repair.safetensors`` beside ``model.safetensors``.
        device: Where to put the weights; None for the fastest device.
        dtype: float32, float16 or bfloat16, of the convolutions.

    Raises:
        CheckpointError: ``source`` is not a whole SpanPP model.
        DeviceError: ``device`` cannot be used here.
        PrecisionError: ``dtype`` is none of these, or too small for the values of the network.
        RepairError: ``repair`` is not a number from 0 to 1, there is no repair model, or
            it was not trained from ``source``.

    Example:
        >>> import spanpp_core, torch
        >>> model = spanpp_core.load(spanpp_core.bundled_model())
        >>> model.at_scale(2.5)(torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 3, 20, 20])
    """
    found = repaired(source, repair, repair_weights)
    found.check_dtype(dtype)
    return SpanPPDescriptor(SpanPPArch(), found).to(device_named(device), dtype)


def bundled_model() -> Path:
    """Returns the path of the weights that ship with the package."""
    return Path(__file__).parent / "data" / "spanpp_c48.safetensors"


def bundled_photo() -> Path:
    """Returns the path of the photo that ships with the package: 960x720, CC0."""
    return Path(__file__).parent / "data" / "raccoon.jpg"
