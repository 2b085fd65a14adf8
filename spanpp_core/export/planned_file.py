"""What is to be made: the options, and one file of a format."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from ..checkpoint import Checkpoint
from ..errors import ExportError
from ..network.model import SpanPP
from .graph import OLDEST_OPSET

WeightPrecision = Literal["fp32", "fp16"]

STEM = "{name}_x{scale}{half}"
"""What a file of one scale is called, but for its ending."""

_SCALE_IN_A_NAME = re.compile(
    r"(?i)(?:^|[-_ ])(?:\d+(?:\.\d+)?x|x\d+(?:\.\d+)?)(?=[-_ ]|$)"
)
"""A scale that a name tells, such as ``2x_`` or ``_x4``."""


@dataclass(frozen=True)
class ExportOptions:
    """How files are made."""

    precision: WeightPrecision = "fp32"
    """fp16 files hold half of the bytes; images go in and come out as float32, but in the
    format onnx-span as float16."""
    opset: int = OLDEST_OPSET
    """The version of ONNX's operators."""
    size: tuple[int, int] | None = None
    """The only (height, width) that ONNX files of one scale take, or None for any."""
    overwrite: bool = False
    """Whether files of the same names are replaced."""
    stem: str = STEM
    """What files of one scale are called, see `STEM`; programs have habits of their own."""

    def __post_init__(self) -> None:
        """Checks the precision: what is no fp32 would else be made as fp16."""
        if self.precision not in get_args(WeightPrecision):
            raise ExportError(
                f"precision is {self.precision!r}; give one of"
                f" {', '.join(get_args(WeightPrecision))}"
            )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of weights and convolutions."""
        return torch.float32 if self.precision == "fp32" else torch.float16


@dataclass(frozen=True)
class PlannedFile:
    """One file to be made."""

    checkpoint: Checkpoint
    name: str
    """The model's name."""
    scale: int | float
    """The file's scale; 0 in a format that does every scale."""
    options: ExportOptions

    def stem(self, tag: str | None = None) -> str:
        """Returns the name of a file, but for its ending; by default with the scale.

        A scale that the model's name tells is left out there: programs would read it.
        """
        half = "_fp16" if self.options.precision == "fp16" else ""
        if tag is not None:
            return f"{self.name}_{tag}{half}"
        name = _SCALE_IN_A_NAME.sub("", self.name).strip("-_ ") or self.name
        return self.options.stem.format(name=name, scale=f"{self.scale:g}", half=half)


class FileFormat(ABC):
    """How files of one format are made and verified, in memory."""

    one_scale = True
    """Whether a file does one scale; otherwise it does all."""
    computes = True
    """Whether a file computes in the precision of its weights."""
    packages: tuple[str, ...] = ()
    """What has to be installed."""
    extra = ""
    """The optional dependency of this project that installs it."""
    exactness = 1e-5
    """How far from the core a float32 file may be; see `verify.largest_difference`."""

    def tolerance(self, options: ExportOptions) -> float:
        """Returns how far from the core a file may be.

        In float16 that is 1/255: one step of an image of 8 bits.
        """
        return self.exactness if options.precision == "fp32" else 1 / 255

    def check(self, planned: PlannedFile) -> None:
        """Raises `ExportError` if the file cannot be made, before anything is.

        Files of one scale are taken to do whole ones only.
        """
        if self.one_scale and not isinstance(planned.scale, int):
            raise ExportError(
                f"x{planned.scale:g} is a fraction, which this format cannot do; give"
                " whole scales, or choose the format onnx or onnx-any"
            )

    @abstractmethod
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        """Returns the names of the files, in the order in which they are to appear."""

    @abstractmethod
    def content(self, planned: PlannedFile) -> tuple[bytes, ...]:
        """Makes the files named by `names`."""

    @abstractmethod
    def difference(
        self, planned: PlannedFile, content: tuple[bytes, ...], network: SpanPP
    ) -> float:
        """Runs the files and returns how far they are from the core at most."""
