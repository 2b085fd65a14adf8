"""Stages in threads: order, bounds, errors and ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator

import pytest

from spanpp_core.video import stages
from spanpp_core.video.stages import ahead, behind


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def numbers(made: list[int], stop: int = 10) -> Generator[int]:
    for number in range(stop):
        made.append(number)
        yield number


def wait_until(true) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_items_keep_their_order_and_are_made_a_few_ahead():
    made: list[int] = []
    with ahead(numbers(made), 2) as items:
        wait_until(lambda: len(made) == 3)  # two in the queue, one in the hand
        time.sleep(0.05)
        assert len(made) == 3
        assert list(items) == list(range(10))


def test_an_error_ahead_comes_behind_the_items_before_it():
    def failing() -> Generator[int]:
        yield 1
        yield 2
        raise ValueError("damaged")

    seen: list[int] = []
    with ahead(failing(), 5) as items, pytest.raises(ValueError, match="damaged"):
        seen.extend(items)
    assert seen == [1, 2]


def test_what_is_ahead_is_closed_in_its_thread_when_nobody_asks_any_more():
    closed_by: list[threading.Thread] = []

    def endless() -> Generator[int]:
        try:
            while True:
                yield 0
        finally:
            closed_by.append(threading.current_thread())

    def use() -> None:
        with ahead(endless(), 2) as items:
            next(items)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()
    assert closed_by != [threading.current_thread()]
    assert len(closed_by) == 1


def test_the_end_of_the_block_waits_for_what_is_behind():
    seen: list[int] = []

    def slowly(items: Iterator[int]) -> None:
        for item in items:
            time.sleep(0.01)
            seen.append(item)

    with behind(slowly, 1) as put:
        for number in range(5):
            put(number)
    assert seen == list(range(5))


def test_no_more_is_put_than_the_queue_holds():
    gate = threading.Event()
    taken: list[int] = []

    def waiting(items: Iterator[int]) -> None:
        for item in items:
            gate.wait()
            taken.append(item)

    given: list[int] = []

    def give(put) -> None:
        for number in range(8):
            put(number)
            given.append(number)

    with behind(waiting, 2) as put:
        giver = threading.Thread(target=give, args=(put,))
        giver.start()
        wait_until(lambda: len(given) == 3)  # two in the queue, one in the hand
        time.sleep(0.05)
        assert len(given) == 3
        gate.set()
        giver.join()
    assert taken == list(range(8))


@pytest.mark.parametrize("at_the_end", [False, True])
def test_an_error_behind_reaches_the_one_who_puts(at_the_end):
    def failing(items: Iterator[int]) -> None:
        for _ in items:
            raise OSError("no space left")

    def give() -> None:
        with behind(failing, 1) as put:
            for number in range(1 if at_the_end else 1000):
                put(number)

    with pytest.raises(OSError, match="no space left"):
        give()


def test_an_end_is_seen_at_once(monkeypatch):
    """By who waits for an item, and by who waits for room."""
    monkeypatch.setattr(stages, "PATIENCE", 60)
    start = time.monotonic()

    def slowly() -> Generator[int]:
        yield 1
        time.sleep(0.05)  # the other one waits

    with ahead(slowly(), 2) as items:
        assert list(items) == [1]
    with behind(list, 2) as put:
        put(1)
        time.sleep(0.05)
    made: list[int] = []
    with ahead(numbers(made), 2):
        wait_until(lambda: len(made) == 3)
        time.sleep(0.05)
    assert time.monotonic() - start < 30


def test_who_is_behind_can_tell_a_stop_from_the_end():
    complete: list[list[int]] = []

    def in_pairs(items: Iterator[int]) -> None:
        for first in items:
            complete.append([first, next(items)])

    def stopped_after(count: int) -> None:
        with behind(in_pairs, 9) as put:
            for number in range(count):
                put(number)
            raise InterruptedError

    for count, pairs in ((3, [[0, 1]]), (4, [[0, 1], [2, 3]])):
        complete.clear()
        with pytest.raises(InterruptedError):
            stopped_after(count)
        assert complete == pairs
