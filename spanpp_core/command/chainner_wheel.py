"""The pip distribution that ``spanpp chainner`` puts into chaiNNer's Python."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import zipfile
from importlib.metadata import version
from pathlib import Path

DISTRIBUTION = "spanpp-chainner"
NODES_PACKAGE = "spanpp_chainner"
STARTUP_LINE = (
    f"import importlib.util as u; u.find_spec({NODES_PACKAGE!r}) and"
    f" __import__('{NODES_PACKAGE}._hook')._hook.install()\n"
)
"""Run whenever chaiNNer's Python starts; silent if someone deleted the folder."""


def build_wheel(folder: Path) -> Path:
    """Writes the distribution that goes into chaiNNer's Python, and returns its path."""
    wheel = folder / f"{NODES_PACKAGE}-{version('spanpp')}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in wheel_files().items():
            archive.writestr(name, data)
    return wheel


def wheel_files() -> dict[str, bytes]:
    """Returns the content of each file of the distribution, by its name in the wheel.

    It is made of the very files this command runs from, so a release, a wheel and a
    clone of the repository all install themselves.
    """
    files = {f"{NODES_PACKAGE}.pth": STARTUP_LINE.encode()}
    for package, source in (("spanpp_core", _core()), (NODES_PACKAGE, _nodes())):
        for file in sorted(source.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                name = f"{package}/{file.relative_to(source).as_posix()}"
                files[name] = file.read_bytes()
    info = f"{NODES_PACKAGE}-{version('spanpp')}.dist-info"
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version('spanpp')}\n"
        "Summary: SpanPP super-resolution nodes for chaiNNer\n"
    ).encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: spanpp\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n"
    )
    rows = [f"{name},{_hash(data)},{len(data)}\n" for name, data in files.items()]
    files[f"{info}/RECORD"] = f"{''.join(rows)}{info}/RECORD,,\n".encode()
    return files


def _core() -> Path:
    return Path(__file__).resolve().parent.parent


def _nodes() -> Path:
    """Returns the folder of the node files: beside the core in a clone, or installed."""
    in_clone = _core().parent / "nodes" / "chainner"
    if in_clone.is_dir():
        return in_clone
    found = importlib.util.find_spec(NODES_PACKAGE)
    if found is None or found.origin is None:
        raise FileNotFoundError(
            f"the package {NODES_PACKAGE} is missing from this installation of spanpp:"
            " install spanpp again"
        )
    return Path(found.origin).parent


def _hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return "sha256=" + digest.rstrip(b"=").decode()
