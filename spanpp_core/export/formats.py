"""The file formats: what each is called, how it is made, how it is run."""

from __future__ import annotations

from typing_extensions import override

from ..checkpoint import parse, slim_content, tensors_of_content
from ..network.model import SpanPP
from . import ncnn, onnx, onnx_any, torchscript, verify
from .planned_file import FileFormat, PlannedFile


class Onnx(FileFormat):
    """One scale, whole or fractional."""

    packages = ("onnx", "onnxruntime")
    extra = "onnx"
    ending = ".onnx"
    as_span = False
    """Whether the graph is SPAN's, operator by operator."""

    @override
    def check(self, planned: PlannedFile) -> None:
        if self.as_span:
            super().check(planned)
        onnx.grid_of(planned.scale)

    @override
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        size = planned.options.size
        fixed = "" if size is None else f"_{size[0]}x{size[1]}"
        return (f"{planned.stem()}{fixed}{self.ending}",)

    @override
    def content(self, planned: PlannedFile) -> tuple[bytes, ...]:
        model = onnx.build(
            planned.checkpoint,
            planned.scale,
            name=planned.name,
            dtype=planned.options.dtype,
            opset=planned.options.opset,
            size=planned.options.size,
            as_span=self.as_span,
        )
        return (model.SerializeToString(),)

    @override
    def difference(
        self, planned: PlannedFile, content: tuple[bytes, ...], network: SpanPP
    ) -> float:
        verify.check_onnx(content[0])
        run = verify.onnx_run(verify.onnx_session(content[0]))
        size = planned.options.size
        return verify.largest_difference(
            run,
            network,
            planned.scale,
            sizes=verify.SIZES if size is None else (size, size),
            batch=3 if size is None else 1,
        )


class OnnxSpan(Onnx):
    """One whole scale, as the graph of a SPAN; fp16 files take and return float16."""

    ending = "_span.onnx"
    as_span = True


class OnnxAny(FileFormat):
    """Every scale from 1 to 8, chosen by an input."""

    one_scale = False
    packages = Onnx.packages
    extra = Onnx.extra

    @override
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        return (planned.stem("any") + ".onnx",)

    @override
    def content(self, planned: PlannedFile) -> tuple[bytes, ...]:
        model = onnx_any.build(
            planned.checkpoint,
            name=planned.name,
            dtype=planned.options.dtype,
            opset=planned.options.opset,
        )
        return (model.SerializeToString(),)

    @override
    def difference(
        self, planned: PlannedFile, content: tuple[bytes, ...], network: SpanPP
    ) -> float:
        verify.check_onnx(content[0])
        session = verify.onnx_session(content[0])
        return max(
            verify.largest_difference(
                verify.onnx_run(session, scale), network, scale, batch=2
            )
            for scale in verify.SCALES
        )


class Ncnn(FileFormat):
    """One whole scale, as a pair of files."""

    packages = ("ncnn",)
    extra = "ncnn"

    @override
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        return f"{planned.stem()}.bin", f"{planned.stem()}.param"

    @override
    def content(self, planned: PlannedFile) -> tuple[bytes, ...]:
        half = planned.options.precision == "fp16"
        files = ncnn.build(planned.checkpoint, int(planned.scale), half=half)
        return files.binary, files.param.encode()

    @override
    def difference(
        self, planned: PlannedFile, content: tuple[bytes, ...], network: SpanPP
    ) -> float:
        binary, param = content
        run = verify.ncnn_run(param, binary)
        scale = int(planned.scale)
        return verify.largest_difference(run, network, scale, clamped=True)


class TorchScript(FileFormat):
    """One whole scale."""

    @override
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        return (f"{planned.stem()}.torchscript.pt",)

    @override
    def content(self, planned: PlannedFile) -> tuple[bytes, ...]:
        half = planned.options.precision == "fp16"
        scale = int(planned.scale)
        return (torchscript.build(planned.checkpoint, scale, half=half),)

    @override
    def difference(
        self, planned: PlannedFile, content: tuple[bytes, ...], network: SpanPP
    ) -> float:
        run = verify.torchscript_run(content[0])
        return verify.largest_difference(run, network, int(planned.scale), batch=3)


class Safetensors(FileFormat):
    """The fused network and its kernel generator, for loaders that know SpanPP."""

    one_scale = False
    computes = False

    @override
    def names(self, planned: PlannedFile) -> tuple[str, ...]:
        return (planned.stem("slim") + ".safetensors",)

    @override
    def content(self, planned: PlannedFile) -> tuple[bytes, ...]:
        return (slim_content(planned.checkpoint, planned.options.dtype),)

    @override
    def difference(
        self, planned: PlannedFile, content: tuple[bytes, ...], network: SpanPP
    ) -> float:
        stored = verify.loaded(parse(tensors_of_content(content[0])))
        return max(
            verify.largest_difference(verify.network_run(stored, scale), network, scale)
            for scale in network.hyper.scales
        )


FORMATS: dict[str, FileFormat] = {
    "onnx": Onnx(),
    "onnx-any": OnnxAny(),
    "onnx-span": OnnxSpan(),
    "ncnn": Ncnn(),
    "torchscript": TorchScript(),
    "safetensors": Safetensors(),
}
"""The formats by the names people type."""
