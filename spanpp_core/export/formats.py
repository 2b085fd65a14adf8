"""The file formats: what each is called, how it is written, how it is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from typing_extensions import override

from ..checkpoint import Checkpoint, read, write_slim
from ..errors import ExportError
from ..network.model import SpanPP
from ..network.scale import MAX_SCALE, MIN_SCALE
from . import ncnn, onnx, onnx_multi, torchscript, verify
from .graph import OLDEST_OPSET

WeightPrecision = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class ExportOptions:
    """How files are made."""

    precision: WeightPrecision = "fp32"
    """fp16 files hold half of the bytes; images go in and come out as float32."""
    opset: int = OLDEST_OPSET
    """The version of ONNX's operators."""
    size: tuple[int, int] | None = None
    """The only (height, width) that ONNX files of one scale take, or None for any."""
    overwrite: bool = False
    """Whether files of the same names are replaced."""

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
        """Returns the name of a file, but for its ending; by default with the scale."""
        tag = f"x{self.scale:g}" if tag is None else tag
        half = "_fp16" if self.options.precision == "fp16" else ""
        return f"{self.name}_{tag}{half}"


class FileFormat(ABC):
    """How files of one format are made and verified."""

    one_scale = True
    """Whether a file does one scale; otherwise it does all."""
    packages: tuple[str, ...] = ()
    """What has to be installed."""
    extra = ""
    """The optional dependency of this project that installs it."""
    exactness = 1e-5
    """How far from the core a float32 file may be; see `verify.largest_difference`."""

    def tolerance(self, options: ExportOptions) -> float:
        """Returns how far from the core a file may be."""
        return self.exactness if options.precision == "fp32" else 2e-3

    def check(self, planned: PlannedFile) -> None:
        """Raises `ExportError` if the file cannot be made, before anything is.

        Files of one scale are taken to do whole ones only.
        """
        if self.one_scale and not isinstance(planned.scale, int):
            raise ExportError(
                f"x{planned.scale:g} is a fraction, which this format cannot do; give"
                " whole scales, or choose the format onnx"
            )

    @abstractmethod
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        """Returns the names of the files, in the order in which they are to appear."""

    @abstractmethod
    def write(self, planned: PlannedFile, paths: tuple[Path, ...]) -> None:
        """Writes the files named by `names`, in a folder that no one else writes to."""

    @abstractmethod
    def difference(
        self, planned: PlannedFile, paths: tuple[Path, ...], network: SpanPP
    ) -> float:
        """Runs the files and returns how far they are from the core at most."""


class Onnx(FileFormat):
    """One scale, whole or fractional."""

    packages = ("onnx", "onnxruntime")
    extra = "onnx"

    @override
    def check(self, planned: PlannedFile) -> None:
        onnx.grid_of(planned.scale)

    @override
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        size = planned.options.size
        fixed = "" if size is None else f"_{size[0]}x{size[1]}"
        return (f"{planned.stem()}{fixed}.onnx",)

    @override
    def write(self, planned: PlannedFile, paths: tuple[Path, ...]) -> None:
        model = onnx.build(
            planned.checkpoint,
            planned.scale,
            name=planned.name,
            dtype=planned.options.dtype,
            opset=planned.options.opset,
            size=planned.options.size,
        )
        paths[0].write_bytes(model.SerializeToString())

    @override
    def difference(
        self, planned: PlannedFile, paths: tuple[Path, ...], network: SpanPP
    ) -> float:
        verify.check_onnx(paths[0])
        run = verify.onnx_run(verify.onnx_session(paths[0]))
        size = planned.options.size
        return verify.largest_difference(
            run,
            network,
            planned.scale,
            sizes=verify.SIZES if size is None else (size, size),
            batch=3 if size is None else 1,
        )


class OnnxMulti(FileFormat):
    """Every whole scale, chosen by an input."""

    one_scale = False
    packages = Onnx.packages
    extra = Onnx.extra

    @override
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        return (planned.stem("multi") + ".onnx",)

    @override
    def write(self, planned: PlannedFile, paths: tuple[Path, ...]) -> None:
        model = onnx_multi.build(
            planned.checkpoint,
            name=planned.name,
            dtype=planned.options.dtype,
            opset=planned.options.opset,
        )
        paths[0].write_bytes(model.SerializeToString())

    @override
    def difference(
        self, planned: PlannedFile, paths: tuple[Path, ...], network: SpanPP
    ) -> float:
        verify.check_onnx(paths[0])
        session = verify.onnx_session(paths[0])
        default = planned.checkpoint.hyper.default_scale
        runs = [(default, verify.onnx_run(session))]
        for scale in range(MIN_SCALE, MAX_SCALE + 1):
            runs.append((scale, verify.onnx_run(session, scale)))
        return max(
            verify.largest_difference(run, network, scale, batch=2)
            for scale, run in runs
        )


class Ncnn(FileFormat):
    """One whole scale, as a pair of files."""

    packages = ("pnnx", "ncnn")
    extra = "ncnn"
    exactness = 1e-4

    @override
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        return f"{planned.stem()}.bin", f"{planned.stem()}.param"

    @override
    def write(self, planned: PlannedFile, paths: tuple[Path, ...]) -> None:
        binary, param = paths
        half = planned.options.precision == "fp16"
        ncnn.write(planned.checkpoint, int(planned.scale), param, binary, half=half)

    @override
    def difference(
        self, planned: PlannedFile, paths: tuple[Path, ...], network: SpanPP
    ) -> float:
        binary, param = paths
        run = verify.ncnn_run(param, binary)
        return verify.largest_difference(run, network, int(planned.scale))


class TorchScript(FileFormat):
    """One whole scale."""

    @override
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        return (f"{planned.stem()}.torchscript.pt",)

    @override
    def write(self, planned: PlannedFile, paths: tuple[Path, ...]) -> None:
        half = planned.options.precision == "fp16"
        torchscript.write(planned.checkpoint, int(planned.scale), paths[0], half=half)

    @override
    def difference(
        self, planned: PlannedFile, paths: tuple[Path, ...], network: SpanPP
    ) -> float:
        run = verify.torchscript_run(paths[0])
        return verify.largest_difference(run, network, int(planned.scale), batch=3)


class Safetensors(FileFormat):
    """The fused network and its kernel generator, for loaders that know SpanPP."""

    one_scale = False

    @override
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        return (planned.stem("slim") + ".safetensors",)

    @override
    def write(self, planned: PlannedFile, paths: tuple[Path, ...]) -> None:
        write_slim(paths[0], planned.checkpoint, planned.options.dtype)

    @override
    def difference(
        self, planned: PlannedFile, paths: tuple[Path, ...], network: SpanPP
    ) -> float:
        stored = verify.loaded(read(paths[0]))
        return max(
            verify.largest_difference(verify.network_run(stored, scale), network, scale)
            for scale in network.hyper.scales
        )


FORMATS: dict[str, FileFormat] = {
    "onnx": Onnx(),
    "onnx-multi": OnnxMulti(),
    "ncnn": Ncnn(),
    "torchscript": TorchScript(),
    "safetensors": Safetensors(),
}
"""The formats by the names people type."""
