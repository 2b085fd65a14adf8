"""Small files that would take all memory or all time are refused by what they say."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import time
import zipfile
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from refusal import refusal
from tiny import training_network

from spanpp_core import checkpoint
from spanpp_core.checkpoint import pickles

PROTO, STOP, EMPTY_DICT, SETITEM = b"\x80\x02", b".", b"}", b"s"


def archive(path: Path, data: bytes, *more: tuple[str, bytes], squeezed: bool) -> Path:
    kind = zipfile.ZIP_DEFLATED if squeezed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, content in (("data.pkl", data), ("version", b"3\n"), *more):
            file.writestr(f"m/{name}", content)
    return path


def renamed(path: Path, name: str, data: bytes) -> Path:
    """An archive whose pickle has a name in capitals, which PyTorch finds as well."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"m/{name}", data)
        file.writestr("m/version", b"3\n")
    return path


def nested_tuples(depth: int) -> bytes:
    """A dict whose key is a tuple of two tuples of two tuples ..., 2 ** depth in all."""
    key = b"K\x01\x85q\x00"
    for _ in range(depth):
        key += b"h\x00\x86q\x00"
    return PROTO + EMPTY_DICT + key + b"K\x01" + SETITEM + STOP


def call(name: str, argument: bytes) -> bytes:
    module, _, function = name.rpartition(".")
    called = f"c{module}\n{function}\n".encode()
    return (
        PROTO + EMPTY_DICT + b"U\x01x" + called + argument + b"\x85R" + SETITEM + STOP
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hostile")
    zeros = bytes(64 * 2**20)
    text = b"X" + (64 * 2**20).to_bytes(4, "little") + zeros
    numbers = b"".join(b"K\x01" for _ in range(2**20))
    deep = b"N" * 90_000 + b"(t" * 90_000  # each tuple looks for its mark
    hash_of_ages = nested_tuples(60)
    plain = io.BytesIO()
    torch.save({}, plain)
    legacy = (pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {}))
    (folder / "i.pth").write_bytes(b"".join(legacy) + hash_of_ages + plain.getvalue())
    return {
        "compressed storage": archive(
            folder / "a.pth",
            PROTO + EMPTY_DICT + STOP,
            ("data/0", zeros),
            squeezed=True,
        ),
        "compressed text": archive(
            folder / "b.pth", PROTO + text + STOP, squeezed=True
        ),
        "large text": archive(folder / "c.pth", PROTO + text + STOP, squeezed=False),
        "hash": archive(folder / "d.pth", hash_of_ages, squeezed=False),
        "hash, in capitals": renamed(folder / "g.pth", "DATA.PKL", hash_of_ages),
        "hash, twice": archive(
            folder / "h.pth",
            hash_of_ages,
            ("Data.pkl", PROTO + EMPTY_DICT + STOP),
            squeezed=False,
        ),
        "hash, before an archive": folder / "i.pth",
        "marks": archive(folder / "j.pth", PROTO + deep + STOP, squeezed=False),
        "many operations": archive(
            folder / "e.pth", PROTO + b"](" + numbers + b"e" + STOP, squeezed=False
        ),
        "bytearray": archive(
            folder / "f.pth",
            call("builtins.bytearray", b"J" + (2**31 - 1).to_bytes(4, "little")),
            squeezed=False,
        ),
    }


REASONS = {
    "compressed storage": "compressed archive",
    "compressed text": "compressed archive",
    "large text": "MB beside its tensors",
    "hash": "tuples within tuples",
    "hash, in capitals": "tuples within tuples",
    "hash, twice": "the same name",
    "hash, before an archive": "tuples within tuples",
    "marks": "a pickled tuple",
    "many operations": "more beside its tensors",
    "bytearray": "builtins.bytearray, which could run code",
}


@pytest.mark.parametrize("kind", REASONS)
def test_is_refused_in_one_line_and_at_once(hostile, kind):
    start = time.monotonic()
    assert REASONS[kind] in refusal(hostile[kind])
    assert time.monotonic() - start < 10


def test_takes_no_memory(hostile):
    code = """
import json, resource, sys
import spanpp_core
unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes, or kilobytes
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
before = peak()
for path in json.loads(sys.argv[1]):
    try: spanpp_core.read(path)
    except spanpp_core.CheckpointError: pass
print(peak() - before)
"""
    pytest.importorskip("resource", reason="memory is measured as POSIX does")
    paths = json.dumps([str(path) for path in hostile.values()])
    done = subprocess.run(
        [sys.executable, "-c", code, paths],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert float(done.stdout) < 60, "megabytes: some file was unpacked"


@pytest.mark.skipif(
    not hasattr(torch.serialization, "safe_globals"),
    reason="needs PyTorch 2.5, whose reader can be told what is harmless",
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_trainers_store_is_read(tmp_path: Path, zipped):
    state = training_network().state_dict()
    adam = torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))])
    whole = {
        "params_ema": state,
        "optimizers": [adam.state_dict()],
        "scheduler": {"milestones": Counter({500: 1}), "seen": {1, 2}},
        "arguments": Namespace(lr=1e-3),
        "loss": np.float64(0.5),
        "step": np.int64(7),
    }
    path = tmp_path / "trained.pth"
    torch.save(whole, path, _use_new_zipfile_serialization=zipped)
    assert checkpoint.read(path).kind == "training"


@pytest.mark.parametrize(
    "value",
    [np.void(b"ab"), np.datetime64("2026-01-01"), np.array([(1, 2)], "i4,i4")[0]],
)
def test_only_plain_numbers_of_numpy_are_read(tmp_path: Path, value):
    path = tmp_path / "numpy.pth"
    torch.save({"x": value}, path)
    assert "only plain numbers are read" in refusal(path)


def test_a_torchscript_program_is_named(tmp_path: Path):
    path = tmp_path / "program.pt"
    torch.jit.save(torch.jit.script(torch.nn.Identity()), path)
    assert "TorchScript" in refusal(path)


def test_nothing_advises_to_lift_the_restriction(tmp_path: Path):
    path = tmp_path / "old.pth"
    buffer = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {}, [[]], []):
        pickle.dump(part, buffer, protocol=2)
    path.write_bytes(
        buffer.getvalue().replace(b"]q\x00]q\x01a.", b"cposix\nsystem\nU\x01aR.")
    )
    message = refusal(path)
    assert "weights_only" not in message
    assert "posix.system" in message


def test_the_bounds_leave_room_for_large_checkpoints():
    state = {f"layer.{i}.weight": torch.zeros(1) for i in range(5000)}
    buffer = io.BytesIO()
    torch.save({"params": state, "params_ema": state, "m": dict(state)}, buffer)
    with zipfile.ZipFile(buffer) as file:
        assert len(file.read("archive/data.pkl")) < pickles.MAX_PICKLE_BYTES / 2
