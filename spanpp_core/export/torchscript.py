"""TorchScript at one whole scale.

PyTorch deprecates it in favour of formats that older programs cannot read; this is for
those programs.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from .frozen import Frozen


def build(checkpoint: Checkpoint, scale: int, *, half: bool) -> bytes:
    """Returns the file of a program that takes and returns float32 images of any size.

    Args:
        checkpoint: The model.
        scale: A whole scale.
        half: Hold and run the convolutions in float16.
    """
    frozen = _plainly_named(Frozen(checkpoint, scale))
    example = torch.zeros(1, checkpoint.hyper.in_channels, 24, 40)
    # PyTorch aborts the process where a disk is full; memory holds the file as well
    content = io.BytesIO()
    # With gradients, or the activations would be traced as changes in place.
    with torch.enable_grad(), _without_notices():
        module = frozen.half() if half else frozen
        program = cast("Any", torch.jit.trace(module, example, check_trace=False))
        torch.jit.save(program, content)
    return content.getvalue()


def _plainly_named(frozen: Frozen) -> Frozen:
    """Renames the classes of a network, whose names become part of the program.

    In a host's pack a module's name is the path of a file, which no reader accepts.
    """
    plain: dict[type, type] = {}
    for module in frozen.modules():
        kind = type(module)
        if not kind.__module__.startswith("torch."):
            if kind not in plain:
                plain[kind] = type(kind.__name__, (kind,), {"__module__": "spanpp"})
            module.__class__ = plain[kind]
    return frozen


def read(content: bytes) -> Callable[[Tensor], Tensor]:
    """Reads a program back, onto the CPU."""
    with _without_notices():
        return cast("Any", torch.jit.load(io.BytesIO(content), map_location="cpu"))


@contextmanager
def _without_notices() -> Generator[None, None, None]:
    """Keeps PyTorch's notices of deprecation from the user, who has no say in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
