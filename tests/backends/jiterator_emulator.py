"""PyTorch's jiterator for a CPU: its functions compiled by g++, on tensors in main memory."""

from __future__ import annotations

import ctypes
import functools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cuda_emulator import COMPILER
from torch import Tensor
from torch.cuda import jiterator

from spanpp_core.backends import jiterator_kernels

PROGRAM = """
#include <math.h>

// Like PyTorch's types of 16 bits, no more than a float to be converted to and from.
struct Value {{
    float of;
    Value(float value) : of(value) {{}}
    operator float() const {{ return of; }}
}};

{code}

extern "C" void run(long size, const float* const* given, float* out) {{
    for (long i = 0; i < size; i++) out[i] = {name}<Value>({arguments});
}}
"""


def install(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Puts it where PyTorch's would be."""
    jiterator_kernels._kernel.cache_clear()
    patch.setattr(jiterator, "_create_jit_fn", functools.partial(compiled, folder))


def compiled(folder: Path, code: str) -> Callable[..., Tensor]:
    """Returns a function of tensors, which promotes and broadcasts as PyTorch does."""
    parsed = jiterator._CodeParser(code)  # PyTorch's own, of what it can read
    count = len(re.findall(r"\bT \w+", parsed.function_params))
    library = folder / f"{parsed.function_name}.so"
    if not library.exists():
        arguments = ", ".join(f"given[{index}][i]" for index in range(count))
        source = library.with_suffix(".cpp")
        source.write_text(
            PROGRAM.format(code=code, name=parsed.function_name, arguments=arguments)
        )
        command = [COMPILER, "-O1", "-shared", "-fPIC", str(source), "-o", str(library)]
        subprocess.run(command, check=True, capture_output=True)
    run = ctypes.CDLL(str(library)).run

    def kernel(*tensors: Tensor) -> Tensor:
        assert len(tensors) == count
        dtype = functools.reduce(torch.promote_types, (t.dtype for t in tensors))
        given = [t.float().contiguous() for t in torch.broadcast_tensors(*tensors)]
        out = torch.empty_like(given[0])
        pointers = (ctypes.c_void_p * count)(*(each.data_ptr() for each in given))
        run(ctypes.c_long(out.numel()), pointers, ctypes.c_void_p(out.data_ptr()))
        return torch.empty_like(tensors[0], dtype=dtype).copy_(out)

    return kernel
