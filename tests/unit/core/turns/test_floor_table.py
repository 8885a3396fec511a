"""The table of the floor's states: it is complete, and says what callers need it to say."""

from __future__ import annotations

import pytest
from callgate.core.turns.floor import Floor
from callgate.core.turns.floor_table import TABLE, Debt, Ended, FloorEvent, FloorState

STATES = tuple(FloorState)
AFTER_A_LOSS = (FloorEvent.NEW, FloorEvent.NEW_OWES, FloorEvent.NEW_HEARS)


def test_every_state_stands_in_it():
    assert set(TABLE) == set(FloorState)


@pytest.mark.parametrize("state", STATES)
def test_a_caller_who_begins_to_speak_has_the_floor_whatever_the_state(state):
    assert TABLE[state].get(FloorEvent.SPEECH_BEGINS, state) is FloorState.CALLER


@pytest.mark.parametrize("state", STATES)
def test_after_the_callers_words_somebody_is_to_answer_or_is_answering(state):
    then = TABLE[state].get(FloorEvent.SPEECH_ENDS, state)
    assert then in (FloorState.AWAITED, FloorState.BEGUN, FloorState.SPEAKING)


@pytest.mark.parametrize("state", STATES)
def test_a_response_is_asked_for_only_where_the_agent_has_something_to_say(state):
    assert (FloorEvent.ASKS in TABLE[state]) == (state is FloorState.WANTED)


@pytest.mark.parametrize("state", STATES)
def test_what_is_owed_is_forgotten_only_by_what_pays_it(state):
    """The way to OPEN is that a response is heard or ends without a debt, or that a new session has nothing to say, or
    that what it was given were no words."""
    to_open = {event for event, then in TABLE[state].items() if then is FloorState.OPEN}
    assert to_open <= {FloorEvent.IS_HEARD, FloorEvent.ENDS, FloorEvent.NEW, FloorEvent.NOTHING_FOUND}


@pytest.mark.parametrize("state", STATES)
def test_from_every_state_there_is_a_way_to_a_heard_answer(state):
    reached, found = {state}, [state]
    while found:
        for then in TABLE[found.pop()].values():
            if then not in reached:
                reached.add(then)
                found.append(then)
    assert {FloorState.SPEAKING, FloorState.OPEN, FloorState.CALLER} <= reached


@pytest.mark.parametrize("state", STATES)
def test_a_new_session_finds_the_same_whatever_the_state_was(state):
    found = [TABLE[state][event] for event in AFTER_A_LOSS]
    assert found == [FloorState.OPEN, FloorState.WANTED, FloorState.AWAITED]


# The floor goes as the table says.


@pytest.fixture
def floor() -> Floor:
    return Floor(0.0)


def test_a_response_that_was_not_heard_pays_nothing(floor):
    floor.speech_begins(1.0)
    floor.speech_ends(2.0)
    assert floor.begins("r1", 2.1)
    assert floor.ends("r1", 2.2, was_cancelled=False) is Ended.UNHEARD
    assert floor.may_ask(2.2, tools_are_open=False)


def test_a_response_that_was_heard_pays_what_arose_before_it_began(floor):
    floor.wants(Debt.TOLD, 1.0)
    floor.ask(None, 1.0)
    floor.wants(Debt.TOLD, 1.1)
    assert floor.begins("r1", 1.2)
    assert floor.hears("r1", 1.3)
    assert floor.ends("r1", 1.4, was_cancelled=False) is Ended.HEARD
    assert floor.may_ask(1.4, tools_are_open=False)


def test_what_was_requested_before_the_caller_spoke_is_not_heard_if_it_begins_while_they_do(floor):
    floor.wants(Debt.TOLD, 1.0)
    floor.ask(None, 1.0)
    floor.speech_begins(1.1)
    assert not floor.begins("r1", 1.2)
    assert not floor.hears("r1", 1.3)
    floor.speech_ends(1.4)
    assert floor.ends("r1", 1.5, was_cancelled=True) is Ended.MUTED
    assert floor.begins("r2", 1.6)
    assert floor.hears("r2", 1.7)


def test_every_response_that_was_cut_off_is_remembered_not_only_the_last(floor):
    for name in ("r1", "r2", "r3"):
        floor.begins(name, 1.0)
        floor.hears(name, 1.0)
        floor.speech_begins(1.1)
        floor.speech_ends(1.2)
    assert not any(floor.hears(name, 1.3) for name in ("r1", "r2", "r3"))


def test_of_two_answers_to_the_same_words_one_is_heard(floor):
    """The model takes so long to begin that it is asked, and then begins its own answer, too."""
    floor.speech_begins(1.0)
    floor.speech_ends(2.0)
    floor.overdue(5.0)
    floor.ask(None, 5.0)
    assert floor.begins("r1", 5.1)
    assert floor.hears("r1", 5.2)
    floor.ends("r1", 5.3, was_cancelled=False)
    assert not floor.begins("r2", 5.4)
    assert not floor.hears("r2", 5.5)


def test_a_refusal_of_something_else_is_none_of_ours(floor):
    floor.wants(Debt.TOLD, 1.0)
    asked = floor.ask(None, 1.0)
    assert not floor.refused("another", 1.0)
    assert floor.refused(asked.event_id, 1.0)
    assert floor.may_ask(1.0, tools_are_open=False)


def test_results_are_asked_about_when_all_tools_are_done(floor):
    floor.wants(Debt.RESULTS, 1.0)
    assert not floor.may_ask(1.0, tools_are_open=True)
    assert floor.may_ask(1.0, tools_are_open=False)
