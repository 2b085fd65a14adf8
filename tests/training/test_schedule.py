"""The learning rate of each step, and the average's decay."""

from __future__ import annotations

import pytest

from spanpp_core.training.schedule import Schedule


def test_the_rate_rises_stays_and_falls_to_nothing():
    schedule = Schedule(1000, warm_up=10, tail=0.5)
    shares = [schedule.share(step) for step in range(1000)]
    assert shares[0] == pytest.approx(0.1)
    assert set(shares[10:500]) == {1.0}
    assert shares[500:] == sorted(shares[500:], reverse=True)
    assert shares[-1] == pytest.approx(1 / 500)


def test_before_the_tail_a_longer_run_is_the_same():
    short, long = Schedule(1000), Schedule(5000)
    assert [short.share(s) for s in range(500)] == [long.share(s) for s in range(500)]


def test_the_average_forgets_the_start_first_and_little_later():
    schedule = Schedule(1000, ema=0.998)
    left = 1.0
    for step in range(400):
        left *= schedule.decay(step)
    assert left < 1e-6
    assert schedule.decay(10**6) == 0.998
