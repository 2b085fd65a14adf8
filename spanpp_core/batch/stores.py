"""Object stores and other file systems with URLs, through pyarrow (a part of Ray Data).

A URL is what pyarrow reads: ``s3://``, ``gs://``, ``abfs://``, ``hdfs://``, ``file://``,
with the options of the store behind a question mark.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

from ..errors import StoreError, first_line
from ..optional import require

_OBJECT_STORES = ("s3", "gcs", "abfs")
"""Where a file appears when all of it has been sent, and a rename would be a copy."""


def name(url: str) -> str:
    """Returns the last part of a URL's path."""
    return PurePosixPath(unquote(urlsplit(url).path)).name


def folder(url: str) -> str:
    """Returns what the names of all files below a URL begin with, unquoted.

    Example:
        >>> folder("s3://photos/my%20trip?region=eu-west-1")
        's3://photos/my trip/'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{unquote(parts.path).rstrip('/')}/"


def joined(url: str, below: str) -> str:
    """Returns the URL of the file ``below`` a folder."""
    base, mark, options = url.partition("?")
    return f"{base.rstrip('/')}/{quote(below)}{mark}{options}"


def is_folder(url: str) -> bool:
    """Whether there is a folder, or a prefix with something below it.

    Raises:
        StoreError: The store cannot be read.
    """
    return _info(url).type == _fs().FileType.Directory


def exists(url: str) -> bool:
    """Whether there is a file.

    Raises:
        StoreError: The store cannot be read.
    """
    return bool(_info(url).is_file)


def files_below(url: str) -> list[str]:
    """Returns the names of all files below a folder or prefix, sorted.

    Raises:
        StoreError: The store cannot be read.
    """
    store, path = _opened(url)
    with _in_one_line(url):
        found = store.get_file_info(_fs().FileSelector(path, recursive=True))
    return sorted(
        each.path.removeprefix(path).lstrip("/") for each in found if each.is_file
    )


def fetch(url: str, path: Path) -> None:
    """Copies a file of a store to a path.

    Raises:
        StoreError: It cannot be read.
    """
    if not exists(url):
        raise StoreError(f"{url}: no such file")
    store, source = _opened(url)
    with _in_one_line(url):
        local = _fs().LocalFileSystem()
        _fs().copy_files(source, str(path), store, local, use_threads=False)


def put(path: Path, url: str) -> None:
    """Copies a file to a store, where it appears whole or not at all.

    Raises:
        StoreError: It cannot be written.
    """
    store, target = _opened(url)
    local = _fs().LocalFileSystem()
    with _in_one_line(url):
        if store.type_name in _OBJECT_STORES:
            _fs().copy_files(str(path), target, local, store, use_threads=False)
            return
        folder = target.rpartition("/")[0]
        store.create_dir(folder or "/", recursive=True)
        aside = f"{folder}/.{uuid4().hex}.partial"
        try:
            _fs().copy_files(str(path), aside, local, store, use_threads=False)
            store.move(aside, target)
        finally:
            if store.get_file_info(aside).is_file:
                store.delete_file(aside)


@contextmanager
def _in_one_line(url: str) -> Generator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise StoreError(f"{url}: {first_line(error)}") from error


def _info(url: str) -> Any:
    store, path = _opened(url)
    with _in_one_line(url):
        return store.get_file_info(path)


def _opened(url: str) -> tuple[Any, str]:
    """Returns the file system of a URL, and the path in it."""
    parts = urlsplit(url)
    with _in_one_line(url):
        store, root = _store(f"{parts.scheme}://{parts.netloc}/", parts.query)
    return store, (root.rstrip("/") + unquote(parts.path)).rstrip("/") or "/"


@lru_cache(maxsize=16)
def _store(root: str, options: str) -> tuple[Any, str]:
    """Opens a store, once: finding the region of a bucket takes a while."""
    return _fs().FileSystem.from_uri(f"{root}?{options}" if options else root)


def _fs() -> Any:
    return require("Reading and writing object stores", "ray", "pyarrow.fs")
