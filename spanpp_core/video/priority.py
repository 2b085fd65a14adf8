"""The scheduling of threads, which an encoder must not change."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_THREADS = Path("/proc/self/task")


@contextmanager
def priority_kept() -> Generator[None]:
    """Restores the scheduling of this thread at the end, and of those that began here.

    SVT-AV1, opened by root on Linux, moves the calling thread to the highest real-time
    priority and leaves it there. Its own threads inherit that, as does every thread and
    process that the program begins later. They keep all others from running; one that
    spins until another thread goes on can wait for ever.
    """
    if not _THREADS.exists():  # not Linux
        yield
        return
    before, policy, parameters = _threads(), *_scheduling(0)
    try:
        yield
    finally:
        raised = _scheduling(0)
        if raised != (policy, parameters):
            for thread in (0, *(_threads() - before)):
                with suppress(ProcessLookupError):  # it has ended
                    if _scheduling(thread) == raised:
                        os.sched_setscheduler(thread, policy, parameters)


def _threads() -> set[int]:
    return {int(each.name) for each in _THREADS.iterdir()}


def _scheduling(thread: int) -> tuple[int, os.sched_param]:
    """Returns policy and priority of a thread; 0 is the calling one."""
    return os.sched_getscheduler(thread), os.sched_getparam(thread)
