"""What a PyTorch file asks of its reader, looked at before it is read.

PyTorch's restricted unpickler executes nothing of a file. But a small file can still ask
it for all memory, by compression, or for all time, by keys that take ages to hash. This
module reads the directory of the archive and the operations of the pickle, builds
nothing, and refuses what no trainer writes.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import CheckpointError

MAX_PICKLE_BYTES = 4 * 2**20
"""Of the pickle itself, without the tensors; a checkpoint's has about 100 KB."""

_MAX_OPERATIONS = 300_000
"""Of a pickle; a checkpoint with its optimizer has some 30,000."""

_MAX_TUPLE = 100_000
"""Values within a tuple, and within the tuples in it: what hashing it takes."""

_ARCHIVE = b"PK\x03\x04"
"""What a file begins with that PyTorch takes for an archive, whatever comes behind."""

_LEGACY_PICKLES = 5
"""How many pickles a file of PyTorch before 1.6 begins with."""

_CALLED = re.compile(
    r"torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.(Size|device)|torch\.serialization\._get_layout"
    r"|collections\.(OrderedDict|Counter)|builtins\.(set|complex)|__builtin__\.set"
    r"|_codecs\.encode|numpy\.dtype|numpy\.(_core|core)\.multiarray\.scalar"
)
"""What the pickles of trainers call. PyTorch has a shorter list of its own, but for
containers that are made of a number, of any size."""

_NUMBERS = re.compile(r"[fiu][1248]|b1")
"""The NumPy types of plain floats, ints and bools."""


def check(path: Path) -> None:
    """Refuses a PyTorch file that would take more to read than its size tells.

    Raises:
        CheckpointError: It would, or is no such file.
    """
    with path.open("rb") as file:
        if file.read(len(_ARCHIVE)) != _ARCHIVE:
            file.seek(0)
            for _ in range(_LEGACY_PICKLES):
                _check_pickle(file)
            return
        size = file.seek(0, 2)
        with zipfile.ZipFile(file) as archive:
            _check_directory(archive, size)
            for entry in archive.infolist():
                if _is_pickle(entry):
                    with archive.open(entry) as pickle:
                        _check_pickle(pickle)


def _check_directory(archive: zipfile.ZipFile, size: int) -> None:
    """Looks at the sizes that an archive says its files have."""
    entries = archive.infolist()
    names = {entry.filename.lower() for entry in entries}
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError("found a TorchScript program; expected a state dict")
    if len(names) < len(entries):
        raise CheckpointError(
            "holds two files of the same name, of which PyTorch reads either; save the"
            " state dict with torch.save, or as safetensors"
        )
    squeezed = [e for e in entries if e.compress_type != zipfile.ZIP_STORED]
    if squeezed or sum(entry.file_size for entry in entries) > size:
        raise CheckpointError(
            "found a compressed archive, which PyTorch does not write; save the state"
            " dict with torch.save, or as safetensors"
        )
    for entry in entries:
        if _is_pickle(entry) and entry.file_size > MAX_PICKLE_BYTES:
            raise CheckpointError(
                f"holds {entry.file_size / 2**20:.0f} MB beside its tensors, at most"
                f" {MAX_PICKLE_BYTES // 2**20} are read; save `model.state_dict()` alone"
            )


def _is_pickle(entry: zipfile.ZipInfo) -> bool:
    """Whether PyTorch may read a file of an archive: to it, capitals make no difference."""
    return entry.filename.lower().endswith("data.pkl")


@dataclass
class _Value:
    """What an operation would push: nothing of it is made."""

    size: int = 1
    """For a tuple, how many values there are in it, at any depth."""
    items: tuple[_Value, ...] = ()
    """Of a tuple."""
    constant: object = None
    """A text or number, as it stands in the file."""
    name: str = ""
    """The module and name of a Python object."""
    is_mark: bool = False


def _check_pickle(file: IO[bytes]) -> None:
    """Follows the operations of one pickle, and leaves the file behind it."""
    start = file.tell()
    stack: list[_Value] = []
    memo: dict[int, _Value] = {}
    try:
        for count, (operation, argument, at) in enumerate(pickletools.genops(file)):
            if count > _MAX_OPERATIONS or (at or 0) - start > MAX_PICKLE_BYTES:
                raise CheckpointError(
                    "holds far more beside its tensors than a checkpoint does; save"
                    " `model.state_dict()` alone"
                )
            _follow(operation, argument, stack, memo)
    except CheckpointError:
        raise
    except Exception as error:  # pickletools raises whatever it meets
        raise CheckpointError(
            "damaged or not a PyTorch file; get the file again"
        ) from error


def _follow(
    operation: pickletools.OpcodeInfo,
    argument: Any,
    stack: list[_Value],
    memo: dict[int, _Value],
) -> None:
    """Does to the stack what an operation would do to it."""
    name = operation.name
    if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        return
    if name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
        return
    popped = _popped(operation, stack)
    if name == "REDUCE":
        _check_call(*popped)
    elif name == "BUILD":
        _check_dtype_state(*popped)
    elif name in ("SETITEM", "SETITEMS", "DICT"):
        pairs = [value for value in popped if not value.is_mark]
        for key in pairs[len(pairs) % 2 :: 2]:
            _check_key(key)
    if not operation.stack_after:
        return
    result = _Value(constant=argument)
    if name == "MARK":
        result = _Value(is_mark=True)
    elif name.startswith("TUPLE"):
        items = tuple(value for value in popped if not value.is_mark)
        result = _Value(1 + sum(item.size for item in items), items)
        if result.size > _MAX_TUPLE:
            raise CheckpointError(
                "holds tuples within tuples that would take ages to read; save"
                " `model.state_dict()` alone"
            )
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        words = str(argument).split(" ") if name == "GLOBAL" else popped
        parts = (word if isinstance(word, str) else word.constant for word in words)
        result = _Value(name=".".join(map(str, parts)))
    elif popped:  # a container stays itself when something is put into it
        result = _Value(name=popped[0].name if name in ("REDUCE", "BUILD") else "")
    stack.extend([result] * len(operation.stack_after))


def _popped(operation: pickletools.OpcodeInfo, stack: list[_Value]) -> list[_Value]:
    """Takes from the stack what an operation takes, the mark included."""
    before = operation.stack_before
    if pickletools.markobject in before:
        # from the top: what is passed over is taken, so that it is looked at once
        mark = next(i for i in reversed(range(len(stack))) if stack[i].is_mark)
        first = mark - before.index(pickletools.markobject)
    else:
        first = len(stack) - len(before)
    if first < 0:
        raise ValueError("the stack is empty")
    popped = stack[first:]
    del stack[first:]
    return popped


def _check_call(called: _Value, arguments: _Value) -> None:
    """Refuses calls that could run code, or make something of any size."""
    if not _CALLED.fullmatch(called.name):
        raise CheckpointError(
            f"holds the Python object {called.name or 'of no name'}, which could run code"
            " and is not read; save `model.state_dict()` alone, or as safetensors"
        )
    if called.name == "numpy.dtype":
        kind = arguments.items[0].constant if arguments.items else None
        if not (isinstance(kind, str) and _NUMBERS.fullmatch(kind)):
            raise CheckpointError(
                f"holds NumPy values of the type {kind!r}; only plain numbers are read,"
                " save `model.state_dict()` alone"
            )


def _check_dtype_state(built: _Value, state: _Value) -> None:
    """Refuses a NumPy type with fields or parts."""
    if built.name == "numpy.dtype":
        parts = state.items[2:5]  # of version, byte order, parts, names, fields, ...
        if len(parts) != 3 or any(part.size > 1 or part.name for part in parts):
            raise CheckpointError(
                "holds NumPy values with fields; only plain numbers are read, save"
                " `model.state_dict()` alone"
            )


def _check_key(key: _Value) -> None:
    """Refuses keys that can be chosen so that hashing them takes for ever."""
    known = key.constant
    if not isinstance(known, str) and not (
        isinstance(known, int) and abs(known) < 2**32
    ):
        raise CheckpointError(
            "holds a dict whose keys are neither names nor numbers; save"
            " `model.state_dict()` alone"
        )
