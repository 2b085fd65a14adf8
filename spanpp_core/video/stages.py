"""Stages of a pipeline, each in a thread of its own, with short queues between them.

FFmpeg and PyTorch release Python's lock while they work, so stages run side by side. The
order is kept, an error of one stage reaches the thread that uses it, and a thread ends
before the block does that began it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar, cast

T = TypeVar("T")

PATIENCE = 0.1
"""Seconds that a thread waits at once: Windows keeps Ctrl-C back while it does."""

_WAKE = object()
"""Behind the last item: who waits for one need not wait any longer."""


class _EndError(Exception):
    """The other thread takes no more, or has no more to give."""


class _Queue(Generic[T]):
    """Items on their way from one thread to another."""

    def __init__(self, size: int) -> None:
        self._items: Queue[T | object] = Queue(size)
        self._finished = Event()
        self._closed = Event()

    def finish(self) -> None:
        """The giver says: what is in the queue is all there is."""
        self._finished.set()
        with suppress(Full):  # then the taker does not wait
            self._items.put_nowait(_WAKE)

    def close(self) -> None:
        """The taker says: nothing is taken any more."""
        self._closed.set()
        with suppress(Empty):  # then the giver does not wait for room
            self._items.get_nowait()

    def put(self, item: T) -> None:
        """Waits until there is room; raises `_EndError` if nothing is taken any more."""
        while not self._closed.is_set():
            try:
                return self._items.put(item, timeout=PATIENCE)
            except Full:
                continue
        raise _EndError

    def get(self) -> T:
        """Waits for an item; raises `_EndError` behind the last one."""
        while True:
            last = self._finished.is_set()
            try:
                item = self._items.get(timeout=0 if last else PATIENCE)
            except Empty:
                if last:
                    raise _EndError from None
                continue
            if item is _WAKE:
                raise _EndError
            return cast("T", item)


@contextmanager
def ahead(items: Generator[T], size: int) -> Generator[Iterator[T]]:
    """Has a thread make items before they are asked for.

    Args:
        items: Runs in the thread, and is closed there.
        size: How many may be made and not asked for yet.

    Yields:
        The same items. What ``items`` raises is raised behind the last of them.
    """
    queue: _Queue[T] = _Queue(size)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            for item in items:
                queue.put(item)
        except _EndError:
            pass
        except BaseException as error:
            errors.append(error)
        finally:
            items.close()
            queue.finish()

    def taken() -> Iterator[T]:
        while True:
            try:
                item = queue.get()
            except _EndError:
                break
            yield item
        for error in errors:
            raise error

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        queue.close()
        thread.join()


@contextmanager
def behind(
    consume: Callable[[Iterator[T]], None], size: int
) -> Generator[Callable[[T], None]]:
    """Has a thread do the rest of the work on items.

    When the block ends ``consume`` gets what was put and is waited for. When the block
    raises an error it gets that as well, and then an error instead of the end: it can tell
    what is complete from what is not.

    Args:
        consume: Takes the items; runs in the thread.
        size: How many may be put and not taken yet.

    Yields:
        What puts an item. It raises what ``consume`` raised, as does the end of the block.
    """
    queue: _Queue[T] = _Queue(size)
    errors: list[BaseException] = []
    is_stopped = Event()

    def items() -> Iterator[T]:
        while True:
            try:
                item = queue.get()
            except _EndError:
                if is_stopped.is_set():
                    raise
                return
            yield item

    def run() -> None:
        try:
            consume(items())
        except _EndError:
            pass
        except BaseException as error:
            errors.append(error)
        finally:
            queue.close()

    def put(item: T) -> None:
        try:
            queue.put(item)
        except _EndError:
            for error in errors:
                raise error from None
            raise

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield put
    except BaseException:
        is_stopped.set()
        raise
    finally:
        queue.finish()
        thread.join()
    for error in errors:
        raise error
