"""What the GPU kernels compile to, for NVIDIA GPUs that need not be here.

The convolution of the backend cupy is built by NVRTC for each compute capability, in every
shape that fits into the shared memory there, as `Convolution` would build it: registers, bytes
spilled, shared memory, programs per multiprocessor, and whether the shape is one of those that
are timed on such a GPU. Then the kernels of the backend triton, the worst of all dtypes and
memory layouts of a map of 48 channels. The exit status is 1 if a Triton kernel spills. Needs
PyTorch for CUDA on Linux, which brings NVRTC and Triton, and no GPU.

Run: python benchmarks/kernels.py [--capability 86 120 ...]
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from cuda.bindings import nvrtc
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from spanpp_core.backends import cupy, triton_kernels
from spanpp_core.backends.convolution import SHAPES, SOURCE, Kind, Shape

SHARED_KIB = {
    75: 64,
    80: 163,
    86: 99,
    87: 163,
    89: 99,
    90: 227,
    100: 227,
    103: 227,
    110: 227,
    120: 99,
    121: 99,
}
"""Most shared memory of a program in KiB, by compute capability (CUDA Programming Guide);
a multiprocessor has one more, from 8.0 on."""

LAYERS = (
    (Kind(48, 48, 3), torch.float16),
    (Kind(48, 48, 3), torch.bfloat16),
    (Kind(16, 48, 3), torch.float16),
    (Kind(48, 48, 1), torch.float16),
)
"""
The convolutions of a network of 48 channels: those of the blocks, and at both ends. The
first needs the most memory.
"""

DTYPES = ("fp32", "fp16", "bf16")
MAPS = {
    "bias_activation_kernel": ("y", "bias", "out"),
    "bias_residual_gate_kernel": ("y", "bias", "x", "out"),
    "sum_bias_kernel": ("a", "b", "c", "d", "bias", "out"),
}
"""The tensors that each Triton kernel takes."""

ALIGNED = [["tt.divisibility", 16]]
"""What Triton is told of addresses and sizes that are multiples of 16."""


class Compiled(NamedTuple):
    """What a kernel became."""

    registers: int
    spilled: int
    """Bytes of registers kept in memory, per thread."""
    wide_loads: int = 0
    wide_stores: int = 0
    """Loads and stores of 16 bytes, as they stand in the code."""


def compile_convolution(
    kind: Kind, dtype: torch.dtype, shape: Shape, capability: int
) -> Compiled:
    """Compiles `convolution.cu` by NVRTC, as CuPy does.

    Raises:
        RuntimeError: It does not compile for such a GPU.
    """
    options = (*kind.options(dtype, shape), f"-arch=sm_{capability}")
    _, program = nvrtc.nvrtcCreateProgram(
        SOURCE.read_bytes(), b"convolution", 0, [], []
    )
    encoded = [option.encode() for option in options]
    [status] = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        log = b" " * size
        nvrtc.nvrtcGetProgramLog(program, log)
        raise RuntimeError(log.decode().strip("\0 \n") or str(status))
    _, size = nvrtc.nvrtcGetCUBINSize(program)
    binary = b" " * size
    nvrtc.nvrtcGetCUBIN(program, binary)
    return Compiled(*resources(binary))


def compile_pointwise(
    name: str, capability: int, dtype: str, *, channels_last: bool, channels: int = 48
) -> Compiled:
    """Compiles a kernel of `spanpp_core.backends.triton_kernels` for a CUDA GPU."""
    kernel = getattr(triton_kernels, name)
    signature = dict.fromkeys(MAPS[name], f"*{dtype}")
    constants: dict[str, Any] = {"channels": channels, "block": triton_kernels.BLOCK}
    if name == "bias_activation_kernel":
        constants["silu"] = True
    signature["size"] = "i32"
    if channels_last:
        constants["inner"] = 1
    else:
        signature["inner"] = "i32"
    names = list(kernel.arg_names)
    attributes = {(names.index(argument),): ALIGNED for argument in signature}
    made = triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": triton_kernels.WARPS},
    )
    code: str = made.asm["ptx"]
    return Compiled(
        *resources(made.asm["cubin"]),
        wide_loads=len(re.findall(r"ld\.global[\w.]*\.v4", code)),
        wide_stores=len(re.findall(r"st\.global[\w.]*\.v4", code)),
    )


def resources(binary: bytes) -> tuple[int, int]:
    """Returns registers and bytes of local memory that a thread of a kernel takes."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(binary)
        command = [str(tool), "-res-usage", str(path)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
    usage = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", found.stdout + found.stderr))
    return int(usage["REG"]), int(usage["STACK"]) + int(usage["LOCAL"])


def print_convolutions(capabilities: Sequence[int]) -> None:
    """Prints the table of the convolution."""
    _, *version = nvrtc.nvrtcVersion()
    print(f"convolution of cupy, NVRTC {'.'.join(map(str, version))}")
    print(
        "GPU     rows warps groups stages  programs  registers  spilled, in the ends",
        end="",
    )
    print("  shared memory of   timed")
    largest = LAYERS[0][0]
    for capability in capabilities:
        name, block = f"sm_{capability}", SHARED_KIB[capability] * 1024
        if divmod(capability, 10) < cupy.CAPABILITY:
            print(f"{name:7} none: it is for compute capability 8.0 and later")
            continue
        timed = largest.timed_shapes(block)
        for shape in SHAPES:
            needed = largest.shared_bytes(shape)
            row = "{:7}{:5}{:6}{:7}{:7}".format(name, *shape[:4])
            if needed > block:
                row += " " * 43
            else:
                made = [
                    compile_convolution(
                        kind, dtype, kind.on_gpu(shape, block + 1024), capability
                    )
                    for kind, dtype in LAYERS
                ]
                row += f"{largest.on_gpu(shape, block + 1024).programs:10}"
                row += f"{max(m.registers for m in made):11}"
                blocks, ends = (
                    max(m.spilled for m in part) for part in (made[:2], made[2:])
                )
                row += f"{blocks:9}{ends:13}"
            row += f"{needed / 1024:11.1f} KiB {block // 1024:3}"
            print(row, "  yes" if shape in timed else "  no", flush=True)


def print_pointwise(capabilities: Sequence[int]) -> int:
    """Prints the table of Triton's kernels and returns how many spill."""
    print(f"\nkernels of triton {triton.__version__}, the worst of dtypes and layouts")
    print("GPU     kernel                     registers  spilled", end="")
    print("  16-byte loads and stores, channels last")
    spilling = 0
    for capability, name in itertools.product(capabilities, MAPS):
        made = {
            (dtype, last): compile_pointwise(
                name, capability, dtype, channels_last=last
            )
            for dtype, last in itertools.product(DTYPES, (True, False))
        }
        registers = [m.registers for m in made.values()]
        spilled = max(m.spilled for m in made.values())
        wide = [m for (_, last), m in made.items() if last]
        print(
            f"sm_{capability:<5}{name:27}{min(registers):5}-{max(registers)}{spilled:9}"
            f"{min(m.wide_loads for m in wide):10}{min(m.wide_stores for m in wide):4}",
            flush=True,
        )
        spilling += spilled > 0
    print(f"{spilling} kernels spill registers")
    return spilling


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints both tables; returns 1 if a Triton kernel spills, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--capability", type=int, nargs="+", choices=SHARED_KIB, default=[*SHARED_KIB]
    )
    given = parser.parse_args(arguments)
    print_convolutions(given.capability)
    return min(1, print_pointwise(given.capability))


if __name__ == "__main__":
    sys.exit(main())
