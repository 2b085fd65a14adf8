"""Encoders leave the scheduling of threads as it was."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread, get_native_id

import pytest
from clips import TWICE, write_clip

from spanpp_core.video import codecs, codecs_here, encoder, remux, upscale_video
from spanpp_core.video.priority import priority_kept

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there they do")


def schedulings() -> dict[int, tuple[int, int]]:
    """Returns policy and priority of every thread of this process."""
    found: dict[int, tuple[int, int]] = {}
    for thread in (int(path.name) for path in Path("/proc/self/task").iterdir()):
        try:
            priority = os.sched_getparam(thread).sched_priority
            found[thread] = (os.sched_getscheduler(thread), priority)
        except ProcessLookupError:  # it has ended
            pass
    return found


def may_be_real_time() -> bool:
    def ask() -> bool:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            return False
        return True

    with ThreadPoolExecutor(1) as pool:  # a thread that ends with it
        return pool.submit(ask).result()


@pytest.mark.skipif(
    sys.platform != "linux" or not may_be_real_time(), reason="needs root"
)
@pytest.mark.parametrize("codec", codecs_here())
def test_no_thread_is_real_time_while_a_video_is_written_and_later(
    tmp_path, model, codec, monkeypatch
):
    seen: set[tuple[int, int]] = set()
    opening = Lock()  # while an encoder opens, in a thread of its own, its threads are

    @contextmanager
    def waited_for():
        with opening, priority_kept():
            yield

    for module in (codecs, encoder, remux):
        monkeypatch.setattr(module, "priority_kept", waited_for)

    def look(*_) -> None:
        with opening:
            seen.update(schedulings().values())

    source = write_clip(tmp_path / "in.mkv", size=(64, 72))
    options = {"codec": codec, "segment": 3, "on_progress": look}
    before = set(schedulings().values())
    upscale_video(model, source, tmp_path / "out.mkv", TWICE, **options)
    look()
    assert seen == before


@pytest.fixture
def waiting():
    """Begins threads that wait, and returns their numbers; they end with the test."""
    go_on = Event()
    threads: list[Thread] = []

    def begin() -> int:
        threads.append(Thread(target=go_on.wait))
        threads[-1].start()
        return threads[-1].native_id

    yield begin
    go_on.set()
    for thread in threads:
        thread.join()


def run_as(policy: int) -> None:
    """Changes the policy of the calling thread; these two need no permission."""
    assert policy in (os.SCHED_OTHER, os.SCHED_BATCH)
    os.sched_setscheduler(0, policy, os.sched_param(0))


def test_threads_that_begin_meanwhile_run_as_before_and_others_as_they_did(waiting):
    def open_an_encoder() -> None:
        run_as(os.SCHED_BATCH)
        earlier = waiting()
        run_as(os.SCHED_OTHER)
        with suppress(OSError), priority_kept():
            run_as(os.SCHED_BATCH)
            inner = waiting()
            assert schedulings()[inner] == (os.SCHED_BATCH, 0)
            raise OSError("refused")
        found = schedulings()
        assert found[inner] == found[get_native_id()] == (os.SCHED_OTHER, 0)
        assert found[earlier] == (os.SCHED_BATCH, 0)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(open_an_encoder).result()
