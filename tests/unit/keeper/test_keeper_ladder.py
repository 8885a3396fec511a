"""When the keeper tries next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keeper.errors import LimitError
from keeper.ladder import DAYS, HOURS, LONGEST_WAIT, MINUTES, Ladder
from keeper.limit import check_weekly_limit

NOW = 1_800_000_000.0


def waits(count: int, *, local: bool) -> list[float]:
    ladder, now, found = Ladder(), NOW, []
    for _ in range(count):
        ladder = ladder.failed(now, local=local)
        found.append(ladder.next_try - now)
        now = ladder.next_try
    return found


def test_failures_wait_1_10_100_minutes_and_then_a_day():
    assert waits(6, local=False) == [1 * MINUTES, 10 * MINUTES, 100 * MINUTES, DAYS, DAYS, DAYS]


def test_failures_found_before_the_authority_was_asked_wait_10_minutes_at_most():
    assert waits(4, local=True) == [1 * MINUTES, 10 * MINUTES, 10 * MINUTES, 10 * MINUTES]


def test_retry_after_is_honoured_where_it_is_later_than_the_ladder():
    ladder = Ladder().failed(NOW, retry_at=NOW + 5 * HOURS)
    assert ladder.next_try == NOW + 5 * HOURS
    assert ladder.forbidden(NOW + 4 * HOURS)
    assert not ladder.due(NOW + 4 * HOURS)
    assert not ladder.forbidden(NOW + 5 * HOURS)


def test_retry_after_stands_over_further_failures_and_does_not_shorten_the_ladder():
    ladder = Ladder().failed(NOW, retry_at=NOW + 5 * HOURS).failed(NOW + 1, local=True)
    assert ladder.next_try == NOW + 5 * HOURS
    assert Ladder().failed(NOW, retry_at=NOW + 1).next_try == NOW + 1 * MINUTES


def test_success_forgets_the_failures():
    ladder = Ladder().failed(NOW).failed(NOW).succeeded(NOW, lifetime=90 * DAYS, chance=0.5)
    assert (ladder.failures, ladder.not_before) == (0, 0.0)


@given(st.floats(0, 1, exclude_max=True), st.floats(1 * HOURS, 400 * DAYS))
def test_good_certificate_is_looked_at_twice_a_day_and_20_times_in_its_life(chance: float, lifetime: float):
    wait = Ladder().succeeded(0.0, lifetime=lifetime, chance=chance).next_try
    assert 0 < wait <= min(12 * HOURS, lifetime / 20)


def test_chance_spreads_the_checks():
    times = {Ladder().succeeded(NOW, lifetime=90 * DAYS, chance=chance).next_try for chance in (0.0, 0.3, 0.9)}
    assert len(times) == 3


def test_wait_that_comes_from_a_wrong_clock_is_not_kept():
    ladder = Ladder().failed(NOW + 1000 * DAYS, retry_at=NOW + 1001 * DAYS)
    assert ladder.due(NOW)
    assert not ladder.forbidden(NOW)
    assert Ladder().failed(NOW, retry_at=NOW + 1000 * DAYS).next_try == NOW + LONGEST_WAIT


def test_fifth_certificate_of_a_week_is_kept_for_an_emergency():
    issued = [NOW - day * DAYS for day in (4, 3, 2)]
    check_weekly_limit(issued, by_force=False)
    issued.append(NOW)
    with pytest.raises(LimitError) as refused:
        check_weekly_limit(issued, by_force=False)
    assert refused.value.retry_at == pytest.approx(NOW + 3 * DAYS, abs=2 * HOURS)
    assert "reserved for emergencies (--force)" in str(refused.value)
    check_weekly_limit(issued, by_force=True)


def test_sixth_certificate_of_a_week_is_refused_even_by_force():
    with pytest.raises(LimitError, match="Let's Encrypt allows 5"):
        check_weekly_limit([NOW - day * DAYS for day in (5, 4, 3, 2, 1)], by_force=True)


def test_a_second_authority_is_not_kept_waiting_by_what_the_first_one_said():
    alone = Ladder().failed(0.0, retry_at=4 * DAYS)
    with_others = Ladder().failed(0.0, retry_at=4 * DAYS, others=True)
    assert (alone.next_try, with_others.next_try) == (4 * DAYS, 60.0)
    assert with_others.forbidden(DAYS)


def test_a_certificate_that_ends_soon_is_not_left_for_a_day_but_the_authority_is_obeyed():
    late = Ladder(failures=3).failed(0.0)
    assert late.not_later_than(3600.0, now=0.0).next_try == 3600.0
    assert late.not_later_than(9 * DAYS, now=0.0).next_try == late.next_try
    told = Ladder(failures=3).failed(0.0, retry_at=2 * DAYS)
    assert told.not_later_than(3600.0, now=0.0).next_try == 2 * DAYS
