"""Rare states of a conversation in which nobody would speak again, or which would end it needlessly."""

from __future__ import annotations

from typing import Any

import pytest
from callgate.core.protocols.realtime import (
    AppendAudio,
    AskAlive,
    AudioDone,
    CreateResponse,
    FunctionCall,
    ResponseCreated,
    ResponseDone,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
)
from callgate.core.turns.commands import AdoptModel, DropBeside, Note, OpenModel, Outcome, PrimeModel
from callgate.core.turns.floor import BEGINS_WITHIN
from callgate.core.turns.liveness import WORDS_WITHIN
from callgate.core.turns.recovery import MOST_STRIKES, RIVAL_WITHIN
from callgate.core.turns.rivalry import PAUSE_IN_SPEECH
from callgate.core.turns.session_life import ROLLOVER_AFTER
from callgate.core.wire.media_stream import Dtmf
from support.conversation_driver import ALIVE, EQUIPPED, LOUD, QUIET, Call, greeted, of


def begins_to_speak(call: Call) -> None:
    call.hears(LOUD, 0.6)
    call.model(SpeechStarted())


def falls_silent(call: Call, item: str = "c1") -> None:
    call.hears(QUIET, 0.5)
    call.model(SpeechStopped(), SpeechCommitted(item))


def speaks_up(call: Call, item: str = "c1") -> None:
    begins_to_speak(call)
    falls_silent(call, item)


def hears_alive(call: Call, payload: str, seconds: float) -> list[Any]:
    """Like `Call.hears`, with a model that answers every check whether it is alive."""
    found = []
    for _ in range(round(seconds * 10)):
        commands = call.hears(payload, 0.1)
        found += commands
        if of(AskAlive, commands):
            found += call.model(ALIVE)
    return found


def fails_again_and_again(call: Call, seconds: float) -> int:
    """Have each response that is asked for fail at once. Return how many did."""
    until, count = call.now + seconds, 0
    call.model(ResponseCreated("fails_0"), ResponseDone("fails_0", "failed"))
    while call.now < until and call.ended is None:
        if of(CreateResponse, call.waits(0.1)):
            count += 1
            call.model(ResponseCreated(f"fails_{count}"), ResponseDone(f"fails_{count}", "failed"))
    return count


class TestOneBesideHasItsTurn:
    def test_a_model_that_fails_quickly_does_not_end_the_call_while_another_is_being_opened(self, talking):
        speaks_up(talking)
        assert fails_again_and_again(talking, 12.0) >= MOST_STRIKES
        assert talking.ended is None
        assert of(PrimeModel, talking.ready())
        talking.does(talking.conversation.rival_speaks(talking.now))
        talking.answers(1.0, "item_9", "resp_9")
        assert talking.ended is None

    def test_once_that_one_can_not_be_opened_either_the_next_failure_ends_it(self, talking):
        speaks_up(talking)
        fails_again_and_again(talking, 12.0)
        talking.unavailable()
        fails_again_and_again(talking, 5.0)
        assert talking.ended.outcome is Outcome.FAILED

    def test_once_that_one_has_failed_too_the_call_ends(self, talking):
        speaks_up(talking)
        fails_again_and_again(talking, 12.0)
        talking.ready()
        talking.does(talking.conversation.rival_failed("gone", talking.now))
        assert talking.ended.outcome is Outcome.FAILED

    def test_a_session_that_is_lost_leaves_the_call_to_the_one_beside_it_whatever_has_failed_before(self, talking):
        speaks_up(talking)
        fails_again_and_again(talking, 12.0)
        talking.ready()
        assert of(AdoptModel, talking.loses_model())
        assert talking.ended is None

    def test_the_tries_to_open_another_count_once_the_first_one_is_lost(self, talking):
        speaks_up(talking)
        talking.waits(2.0)
        talking.loses_model()
        for _ in range(MOST_STRIKES):
            talking.unavailable()
        assert talking.ended.outcome is Outcome.FAILED


class TestASilentModelAlone:
    def test_if_no_other_can_be_opened_for_long_the_safety_net_takes_over(self, talking):
        speaks_up(talking)
        began = talking.now
        while talking.ended is None and talking.now < began + 300:
            if of(OpenModel, talking.waits(0.5)):
                talking.unavailable()
        assert talking.ended.outcome is Outcome.FAILED
        assert talking.now - began > MOST_STRIKES * RIVAL_WITHIN

    def test_one_that_speaks_after_some_of_these_tries_goes_on(self, talking):
        speaks_up(talking)
        for _ in range(60):
            if of(OpenModel, talking.waits(0.5)):
                talking.unavailable()
        talking.answers(1.0)
        talking.lives(60.0)
        assert talking.ended is None


class TestHourNearlyOver:
    @pytest.fixture
    def waits_for_pause(self, talking: Call) -> Call:
        """Return a call whose next session is being opened. Just then, the caller begins to speak."""
        talking.lives(ROLLOVER_AFTER + 1.0)
        assert of(OpenModel, talking.commands)
        begins_to_speak(talking)
        return talking

    def test_a_model_that_hangs_then_is_replaced_by_the_one_that_waits_for_a_pause(self, waits_for_pause):
        waits_for_pause.ready()
        falls_silent(waits_for_pause)
        assert of(PrimeModel, waits_for_pause.waits(3.0))

    def test_so_is_one_that_fails(self, waits_for_pause):
        waits_for_pause.ready()
        falls_silent(waits_for_pause)
        waits_for_pause.commands.clear()
        fails_again_and_again(waits_for_pause, 3.0)
        assert of(PrimeModel, waits_for_pause.commands)

    def test_the_same_if_that_one_is_not_ready_yet(self, waits_for_pause):
        falls_silent(waits_for_pause)
        waits_for_pause.waits(3.0)
        assert of(PrimeModel, waits_for_pause.ready())


class TestStuck:
    def test_a_model_that_hears_a_silent_caller_speak_gets_a_rival(self, talking):
        begins_to_speak(talking)
        assert not of(OpenModel, hears_alive(talking, QUIET, PAUSE_IN_SPEECH + WORDS_WITHIN - 0.5))
        assert of(OpenModel, hears_alive(talking, QUIET, 1.0))

    def test_not_while_the_caller_does_speak(self, talking):
        begins_to_speak(talking)
        assert not of(OpenModel, hears_alive(talking, LOUD, 30.0))

    def test_if_the_rival_finds_nothing_either_it_goes_on_and_is_asked(self, talking):
        begins_to_speak(talking)
        hears_alive(talking, QUIET, PAUSE_IN_SPEECH + WORDS_WITHIN + 0.5)
        talking.ready()
        assert of(AdoptModel, hears_alive(talking, QUIET, RIVAL_WITHIN + 0.5))
        assert of(CreateResponse, hears_alive(talking, QUIET, 3.0))

    def test_a_muted_response_that_never_ends_makes_the_model_doubtful(self, talking):
        speaks_up(talking)
        talking.lives(BEGINS_WITHIN + 0.5)  # it does not begin its answer: it is asked for it
        talking.answers(0.1)
        talking.model(ResponseCreated("twin"))  # its own answer after all, which is not heard
        talking.twilio(Dtmf("MZ1", "1"))
        talking.commands.clear()
        talking.lives(WORDS_WITHIN + 3.0)
        assert of(OpenModel, talking.commands)

    def test_a_goodbye_whose_response_never_ends_is_followed_by_no_other_session(self):
        call = greeted(Call(EQUIPPED))
        speaks_up(call)
        call.says(1.0)
        call.model(AudioDone("resp_1", "item_1"), FunctionCall("f1", "hang_up", "{}", "resp_1"))
        call.commands.clear()
        call.lives(WORDS_WITHIN + 2.0)
        call.returns_marks()
        assert call.ended.outcome is Outcome.GOODBYE
        assert not of(OpenModel, call.commands)


class TestNoise:
    def test_two_sessions_that_have_nothing_to_say_are_no_failure(self, talking):
        talking.hears(LOUD, 6.0)
        assert of(OpenModel, talking.commands)
        talking.ready()
        talking.model(ALIVE)  # late
        hears_alive(talking, LOUD, RIVAL_WITHIN + 0.5)
        assert of(DropBeside, talking.commands)
        assert not [note for note in of(Note, talking.commands) if "failed" in note.text]

    def test_a_rival_that_is_given_only_noise_is_asked_for_what_is_owed(self, talking):
        hears_alive(talking, LOUD, 5.0)
        talking.twilio(Dtmf("MZ1", "1"))
        talking.commands.clear()
        talking.hears(LOUD, 4.0)
        (prime,) = of(PrimeModel, talking.ready())
        assert of(AppendAudio, list(prime.events))
        assert of(CreateResponse, list(prime.events))
        talking.does(talking.conversation.rival_speaks(talking.now))
        talking.answers(1.0, "item_9", "resp_9")
        talking.commands.clear()
        hears_alive(talking, LOUD, 5.0)
        assert not of(CreateResponse, talking.commands)  # it was answered
