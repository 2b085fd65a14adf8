"""ncnn files at one whole scale, as realesrgan-ncnn-vulkan and Upscayl read them.

`pnnx` translates the traced network. Those tools look for the blobs ``data`` and
``output``, feed RGB in [0, 1], and take the scale from the name of the model.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from ..checkpoint import Checkpoint
from ..errors import ExportError
from ..optional import require
from . import torchscript

_BLOBS = {"in0": "data", "out0": "output"}
"""What pnnx calls the ends of a network, and what those tools do."""

_SIZES = ((24, 40), (33, 27))
"""Two heights and widths that are traced, so that none of them is taken as fixed."""


def write(
    checkpoint: Checkpoint, scale: int, param: Path, binary: Path, *, half: bool
) -> None:
    """Writes the two files of one scale.

    Args:
        checkpoint: The model.
        scale: A whole scale.
        param: Where to write the layers; pnnx leaves files of its own in that folder.
        binary: Where to write the weights, in the same folder.
        half: Store float16 weights.

    Raises:
        ExportError: pnnx is missing, or could not translate the network.
    """
    pnnx = require("Exporting", "ncnn", "pnnx")
    script = param.with_name("traced.pt")
    channels = checkpoint.hyper.in_channels
    first, second = (f"[1,{channels},{h},{w}]f32" for h, w in _SIZES)
    torchscript.write(checkpoint, scale, script, half=False)
    done = subprocess.run(  # noqa: S603
        [
            pnnx.EXEC_PATH,
            script.name,
            f"inputshape={first}",
            f"inputshape2={second}",
            f"fp16={int(half)}",
            f"ncnnparam={param.name}",
            f"ncnnbin={binary.name}",
        ],
        cwd=param.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not param.is_file() or not binary.is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ExportError(
            f"pnnx could not translate the network (status {done.returncode}:"
            f" {lines[-1] if lines else 'no word'}); try another version of pnnx"
        )
    param.write_text(_renamed(param.read_text()))


def _renamed(param: str) -> str:
    """Gives the ends of a network, as ncnn's text format lists it, their usual names.

    A layer is a line of: type, name, number of inputs, number of outputs, the names of
    both, and its parameters.
    """
    lines = param.splitlines()
    for index, line in enumerate(lines[2:], start=2):
        kind, name, n_inputs, n_outputs, *rest = line.split()
        blobs = int(n_inputs) + int(n_outputs)
        names = [_BLOBS.get(blob, blob) for blob in rest[:blobs]]
        words = [kind, name, n_inputs, n_outputs, *names, *rest[blobs:]]
        lines[index] = " ".join(words)
    return "\n".join(lines) + "\n"
