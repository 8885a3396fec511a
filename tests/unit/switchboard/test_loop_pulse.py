"""How late the loop is, with a clock that the test controls."""

import asyncio
from collections.abc import Callable

import pytest
from callgate.switchboard.loop_pulse import BEATS, INTERVAL, LATE, MANY_CALLS, MOST_LATE, Pulse


class Clock:
    """An event loop that has only its time and one timer."""

    def __init__(self) -> None:
        self.now, self.timer = 50.0, lambda: None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> asyncio.Handle:
        self.when, self.timer = when, call
        return self

    def cancel(self) -> None:
        self.timer = lambda: None

    def beat(self, late: float = 0.0) -> None:
        self.now = self.when + late
        self.timer()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)
    return clock


@pytest.fixture
def pulse(clock):
    pulse = Pulse()
    pulse.start()
    return pulse


def test_a_loop_that_is_on_time_is_not_late(clock, pulse):
    for _ in range(BEATS):
        clock.beat(LATE / 2)
    assert not pulse.is_late


def test_one_hiccup_is_none(clock, pulse):
    clock.beat(5.0)
    assert not pulse.is_late
    assert pulse.lateness == pytest.approx(5.0)


def test_a_loop_that_keeps_being_late_is_late_until_it_has_caught_up(clock, pulse, caplog):
    for _ in range(MOST_LATE):
        clock.beat(2 * LATE)
    assert pulse.is_late
    assert "late by up to 80 ms" in caplog.text
    for _ in range(BEATS):
        clock.beat()
    assert not pulse.is_late
    assert "caught up" in caplog.text


def test_it_is_not_the_calls_that_make_a_loop_late_where_there_are_few(clock, pulse):
    for _ in range(4):
        clock.beat(0.15)
    assert pulse.is_late
    assert not pulse.is_overloaded(0.0)
    assert not pulse.is_overloaded(MANY_CALLS - 0.01)
    assert pulse.is_overloaded(MANY_CALLS)
    assert pulse.is_overloaded(1.0)


def test_many_calls_alone_are_no_overload(clock, pulse):
    clock.beat()
    assert not pulse.is_overloaded(1.0)


def test_a_late_beat_does_not_make_the_next_one_late(clock, pulse):
    clock.beat(1.0)
    assert clock.when == pytest.approx(clock.now + INTERVAL)


def test_it_can_be_stopped(clock, pulse):
    pulse.stop()
    clock.timer()
    assert pulse.lateness == 0.0
