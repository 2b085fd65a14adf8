"""CuPy for a CPU: kernels compiled with `cuda_emulator.cpp`, on tensors in main memory."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import types
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from spanpp_core.backends import convolution

EMULATOR = Path(__file__).with_name("cuda_emulator.cpp")
COMPILER = shutil.which("g++")

H100 = {
    "MaxSharedMemoryPerMultiprocessor": 228 * 1024,
    "MaxSharedMemoryPerBlockOptin": 227 * 1024,
    "MultiProcessorCount": 132,
}

needs_compiler = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs g++, on Linux"
)


class RawKernel:
    """CuPy's, for a CPU."""

    folder: Path
    most_programs = 2  # so that one makes several tiles
    max_dynamic_shared_size_bytes = 0

    def __init__(self, code: str, name: str, options: tuple[str, ...]) -> None:
        assert name == "convolution"
        library = self.folder / f"{abs(hash((code, options)))}.so"
        if not library.exists():
            (self.folder / "kernel.inc").write_text(
                code.replace('extern "C"', "static")
            )
            defined = [option for option in options if option.startswith("-D")]
            command = [COMPILER, "-Og", "-std=c++17", "-shared", "-fPIC"]
            command += [*defined, f"-I{self.folder}", str(EMULATOR), "-o", str(library)]
            subprocess.run(command, check=True, capture_output=True)
        self._launch = ctypes.CDLL(str(library)).launch
        self._launch.restype = ctypes.c_char_p

    def __call__(
        self, grid: tuple[int], block: tuple[int], arguments: Any, *, shared_mem: int
    ) -> None:
        assert shared_mem == self.max_dynamic_shared_size_bytes
        pointers = [ctypes.c_void_p(each) for each in arguments[:5]]
        sizes = [int(each) for each in arguments[5:]]
        programs = min(*grid, self.most_programs)
        failure = self._launch(*pointers, *sizes, programs, *block, shared_mem)
        assert not failure, failure.decode()


def install(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Puts it where CuPy and an H100 would be."""
    RawKernel.folder = folder
    module = types.ModuleType("cupy")
    module.RawKernel = RawKernel
    gpu = types.SimpleNamespace(attributes=H100)
    streams = types.SimpleNamespace(from_external=lambda stream: nullcontext())
    module.cuda = types.SimpleNamespace(Stream=streams, Device=lambda: gpu)
    stream = types.SimpleNamespace(cuda_stream=0)
    patch.setattr(convolution, "require", lambda *names: module)
    patch.setattr(torch.cuda, "device_of", lambda tensor: nullcontext())
    patch.setattr(torch.cuda, "device", lambda device: nullcontext())
    patch.setattr(torch.cuda, "current_stream", lambda device: stream)
