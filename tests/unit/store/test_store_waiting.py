"""Pending writes: nothing is written twice, out of order, or without bound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from callgate.store import CallRecord, StoredCall, StoredTurn
from callgate.store.waiting import Batch, CallEnded, CallResumed, CallStarted, SaidTurn, Waiting, merged
from hypothesis import given
from hypothesis import strategies as st

START = datetime(2026, 11, 23, tzinfo=UTC)
RECORD = CallRecord(call_sid="CA1", started_at=START, process="one/1")


def said(number: int, text: str = "words", call_sid: str = "CA1", **values: object) -> SaidTurn:
    known = {"number": number, "at": START + timedelta(seconds=number), "role": "agent", "item_id": f"item_{number}"}
    return SaidTurn(call_sid, StoredTurn(**{**known, "text": text, **values}))  # type: ignore[arg-type]


def waiting(count: int = 1000, size: int = 1_000_000) -> Waiting:
    return Waiting(count, size)


def test_a_turn_that_changes_while_it_waits_is_written_once_and_keeps_its_place():
    entries = waiting()
    entries.put_turn(said(1, "Hello"))
    entries.put_turn(said(2, "Wait"))
    entries.put_turn(said(9, "Hello! How can I", item_id="item_1"))
    assert entries.take(10).turns == (said(1, "Hello! How can I"), said(2, "Wait"))
    assert len(entries) == 0


def test_notes_are_known_by_their_numbers():
    entries = waiting()
    entries.put_turn(said(1, "reconnected", item_id=None))
    entries.put_turn(said(2, "reconnected", item_id=None))
    assert len(entries) == 2


def test_events_are_taken_before_turns():
    entries = waiting()
    entries.put_turn(said(1))
    entries.put_event(CallStarted(RECORD))
    assert entries.take(1) == Batch((CallStarted(RECORD),), ())
    assert entries.take(1) == Batch((), (said(1),))


def test_what_is_put_back_comes_first_again_and_what_has_come_since_stands_over_it():
    entries = waiting()
    entries.put_event(CallStarted(RECORD))
    entries.put_turn(said(1, "Hello"))
    entries.put_turn(said(2, "Wait"))
    taken = entries.take(10)
    ended = CallEnded("CA1", START, "goodbye", "done")
    entries.put_event(ended)
    entries.put_turn(said(3, "new"))
    entries.put_turn(said(1, "Hello! How"))
    entries.put_back(taken)
    assert entries.take(10) == Batch(
        (CallStarted(RECORD), ended), (said(1, "Hello! How"), said(2, "Wait"), said(3, "new"))
    )


def test_when_it_is_full_the_oldest_turn_goes_and_never_an_event_before_a_turn():
    entries = waiting(count=3)
    entries.put_event(CallStarted(RECORD))
    for number in range(4):
        entries.put_turn(said(number))
    assert entries.lost == 2
    assert entries.take(10) == Batch((CallStarted(RECORD),), (said(2), said(3)))


def test_long_words_fill_it_as_many_do():
    entries = waiting(size=10_000)
    for number in range(10):
        entries.put_turn(said(number, "x" * 3000))
    assert (len(entries), entries.lost) == (2, 8)
    entries.put_turn(said(10, "x" * 20_000))
    assert (len(entries), entries.lost) == (0, 11)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("turn"), st.integers(0, 9), st.text(max_size=5)),
            st.tuples(st.just("written"), st.integers(1, 5), st.none()),
            st.tuples(st.just("failed"), st.integers(1, 5), st.none()),
        )
    )
)
def test_whatever_fails_in_between_each_turn_ends_as_it_was_said_last(steps):
    """A database that fails at any time ends up with the same turns as one that never fails."""
    entries = waiting()
    written: dict[str, StoredTurn] = {}
    expected: dict[str, str] = {}
    for what, number, text in steps:
        if what == "turn":
            entries.put_turn(said(number, text))
            expected[f"item_{number}"] = text
        else:
            batch = entries.take(number)
            if what == "failed":
                entries.put_back(batch)
            else:
                written |= {entry.turn.key: entry.turn for entry in batch.turns}
    written |= {entry.turn.key: entry.turn for entry in entries.take(len(entries)).turns}
    assert {key: turn.text for key, turn in written.items()} == expected
    assert all(turn.number == int(key[5:]) for key, turn in written.items())
    assert (len(entries), entries.lost) == (0, 0)


def test_what_waits_of_a_call_is_merged_with_what_is_kept_of_it():
    kept = StoredCall(RECORD, (said(1, "Hello").turn, said(2, "Wait").turn))
    later = START + timedelta(seconds=60)
    events = (CallEnded("CA1", later, "failed", "lost"), CallResumed("CA1", later, "two/1"))
    found = merged(kept, Batch(events, (said(3, "goes on"), said(7, "Hello!", item_id="item_1", cut=True))))
    assert found is not None
    assert (found.call.process, found.call.resumes, found.call.ended_at, found.call.outcome) == ("two/1", 1, None, None)
    assert found.turns == (said(1, "Hello!", cut=True).turn, said(2, "Wait").turn, said(3, "goes on").turn)


def test_a_resume_that_is_written_already_counts_once():
    later = START + timedelta(seconds=60)
    resumed = CallResumed("CA1", later, "two/1")
    once = merged(StoredCall(RECORD, ()), Batch((resumed,), ()))
    assert once is not None
    twice = merged(once, Batch((resumed,), ()))
    assert twice == once
    assert twice.call.resumes == 1


def test_receipts_are_added_up_and_each_once():
    first, second = ({"duration_s": seconds, "cost_usd": cost} for seconds, cost in ((5.0, "0.01"), (2.5, None)))
    events = (
        CallEnded("CA1", START + timedelta(seconds=5), "failed", "lost", first),
        CallResumed("CA1", START + timedelta(seconds=6), "two/1"),
        CallEnded("CA1", START + timedelta(seconds=9), "goodbye", "done", second),
    )
    once = merged(StoredCall(RECORD, ()), Batch(events, ()))
    assert once is not None
    assert once.call.receipt == {"duration_s": 7.5, "cost_usd": None}
    assert merged(once, Batch(events, ())) == once


def test_of_a_call_that_is_not_kept_and_does_not_wait_nothing_is_known():
    assert merged(None, Batch((), (said(1),))) is None
    assert merged(None, Batch((CallStarted(RECORD),), (said(1),))) == StoredCall(RECORD, (said(1).turn,))
