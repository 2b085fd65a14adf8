"""What the Triton kernels compile to, for GPUs that need not be here.

Compiles each kernel for compute capabilities 8.6 (RTX 30) and 9.0 (H100, H200), for every
dtype and both layouts of a 48-channel map, and prints registers, bytes spilled, shared
memory, 16-byte loads and stores, and the seconds it took. The exit status is 1 if anything
spills. Needs Triton, which brings NVIDIA's assembler along, and no GPU.

Run: python benchmarks/triton_kernels.py [--capability 75 89 ...]
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from spanpp_core.backends import triton_kernels as kernels

CAPABILITIES = (86, 90)
DTYPES = ("fp32", "fp16", "bf16")
MAPS = {
    "bias_activation_kernel": ("y", "bias", "out"),
    "bias_residual_gate_kernel": ("y", "bias", "x", "out"),
    "sum_bias_kernel": ("a", "b", "c", "d", "bias", "out"),
}
"""The tensors that each kernel takes."""

ALIGNED = [["tt.divisibility", 16]]
"""What Triton is told of addresses and sizes that are multiples of 16."""


@dataclass(frozen=True)
class Compiled:
    """What one kernel became."""

    registers: int
    spilled: int
    """Bytes of registers kept in memory, per thread."""
    shared: int
    """Bytes of shared memory of a program."""
    wide_loads: int
    wide_stores: int
    """Loads and stores of 16 bytes, as they stand in the code."""
    seconds: float


def compile_kernel(
    name: str, capability: int, dtype: str, *, channels_last: bool, channels: int = 48
) -> Compiled:
    """Compiles a kernel of `spanpp_core.backends.triton_kernels` for a CUDA GPU."""
    kernel = getattr(kernels, name)
    signature = dict.fromkeys(MAPS[name], f"*{dtype}")
    constants: dict[str, Any] = {"channels": channels, "block": kernels.BLOCK}
    if name == "bias_activation_kernel":
        constants["silu"] = True
    signature["size"] = "i32"
    if channels_last:
        constants["inner"] = 1
    else:
        signature["inner"] = "i32"
    names = list(kernel.arg_names)
    attributes = {(names.index(argument),): ALIGNED for argument in signature}
    source = ASTSource(kernel, signature, constants, attributes)
    began = time.perf_counter()
    made = triton.compile(
        source,
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": kernels.WARPS},
    )
    took = time.perf_counter() - began
    code: str = made.asm["ptx"]
    registers, spilled = resources(made.asm["cubin"])
    return Compiled(
        registers=registers,
        spilled=spilled,
        shared=made.metadata.shared,
        wide_loads=len(re.findall(r"ld\.global[\w.]*\.v4", code)),
        wide_stores=len(re.findall(r"st\.global[\w.]*\.v4", code)),
        seconds=took,
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table and returns how many kernels spill, at most 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--capability", type=int, nargs="+", default=CAPABILITIES)
    given = parser.parse_args(arguments)
    print(f"Triton {triton.__version__}, programs of {kernels.BLOCK} values")
    print(f"{'kernel':27}{'GPU':>6}{'dtype':>6} {'layout':15}", end="")
    print("registers  spilled  shared  16-byte loads  stores  seconds")
    spilling = 0
    cases = itertools.product(MAPS, given.capability, DTYPES, (True, False))
    for name, capability, dtype, channels_last in cases:
        made = compile_kernel(name, capability, dtype, channels_last=channels_last)
        layout = "channels last" if channels_last else "contiguous"
        print(
            f"{name:27}{f'sm_{capability}':>6}{dtype:>6} {layout:15}{made.registers:9}"
            f"{made.spilled:9}{made.shared:8}{made.wide_loads:15}{made.wide_stores:8}"
            f"{made.seconds:9.1f}"
        )
        spilling += made.spilled > 0
    print(f"{spilling} kernels spill registers")
    return min(spilling, 1)


if __name__ == "__main__":
    sys.exit(main())
