"""Locks on files, which the system drops when the process that holds them ends."""

from __future__ import annotations

import errno
import os
import sys
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""What the systems say of a lock that somebody has."""


def lock(file: BinaryIO) -> bool:
    """Locks an open file until it is closed, without waiting.

    Returns:
        False if somebody else has it locked, or removed it since it was opened. On file
        systems without locks, True.
    """
    try:
        _lock(file)
    except OSError as error:
        return error.errno not in _HELD
    return os.fstat(file.fileno()).st_nlink > 0
