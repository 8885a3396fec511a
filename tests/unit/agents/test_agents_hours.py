from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from callgate.agents.hours import Hours, Span

BERLIN = ZoneInfo("Europe/Berlin")


def hours(*spans: str, day: int = 0, closed_on: frozenset[date] = frozenset()) -> Hours:
    return Hours(BERLIN, {day: tuple(map(Span.parse, spans))}, closed_on)


def monday(text: str, day: int = 23) -> datetime:
    """Return a local time on Monday, 23 November 2026, or on another day of that month."""
    return datetime.fromisoformat(f"2026-11-{day} {text}").replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [("08:59:59", False), ("09:00", True), ("12:29:59", True), ("12:30", False), ("13:30", True), ("17:30", False)],
)
def test_a_span_begins_with_its_first_minute_and_ends_before_its_last(at, is_open):
    assert hours("09:00-12:30", "13:30-17:30").is_open(monday(at)) is is_open


def test_a_day_without_spans_is_closed():
    assert not hours("09:00-17:00").is_open(monday("12:00", day=24))


def test_midnight_may_be_passed_and_is_of_the_day_that_began():
    night = hours("22:00-02:00")
    assert [night.is_open(monday(at)) for at in ("01:00", "21:59", "22:00", "23:59")] == [False, False, True, True]
    assert [night.is_open(monday(at, day=24)) for at in ("00:00", "01:59", "02:00", "22:00")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_whole_day_is_written_with_twenty_four():
    assert [hours("00:00-24:00").is_open(monday(at)) for at in ("00:00", "23:59")] == [True, True]
    assert not hours("00:00-24:00").is_open(monday("00:00", day=24))


def test_a_closed_date_closes_what_begins_on_it_and_nothing_else():
    closed = hours("22:00-02:00", closed_on=frozenset({date(2026, 11, 23)}))
    assert not closed.is_open(monday("23:00"))
    assert not closed.is_open(monday("01:00", day=24))
    assert closed.is_open(monday("23:00", day=30))


@pytest.mark.parametrize(("month", "utc_hour"), [(1, 8), (7, 7)])
def test_hours_are_local_in_summer_and_in_winter(month, utc_hour):
    every_day = Hours(BERLIN, dict.fromkeys(range(7), (Span.parse("09:00-17:00"),)))
    opens = datetime(2026, month, 15, utc_hour, tzinfo=UTC)
    assert every_day.is_open(opens)
    assert not every_day.is_open(opens.replace(hour=utc_hour - 1, minute=59))


@pytest.mark.parametrize(
    "text", ["", "9-5", "9:00-17:00", "09:00", "09:00-24:01", "25:00-26:00", "09:60-10:00", "٠٩:00-10:00"]
)
def test_what_is_no_span_of_time_is_refused(text):
    with pytest.raises(ValueError, match="write it as 09:00-17:30"):
        Span.parse(text)
