"""A model that is silent, slow, or fails is kept; another is opened beside it, and whichever speaks first goes on."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from callgate.core.protocols.realtime import (
    AddUserText,
    AppendAudio,
    AskAlive,
    AudioDelta,
    CallerTranscript,
    CallerTranscriptFailed,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    ResponseCreated,
    ResponseDone,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
    TruncateItem,
)
from callgate.core.turns.comfort import LONGEST, NO_MODEL, THINKING
from callgate.core.turns.commands import AdoptModel, DropBeside, DropModel, OpenModel, Outcome, PrimeModel
from callgate.core.turns.liveness import ANSWER_WITHIN, ASK_AFTER, ASK_IN_NOISE_AFTER, WORDS_WITHIN
from callgate.core.turns.recovery import MOST_STRIKES, RIVAL_WITHIN, WAITS
from callgate.core.turns.serving import Phase
from callgate.core.wire.media_stream import Clear, Media
from support.conversation_driver import AGENT, ALIVE, LOUD, ONE_MOMENT, QUIET, Call, audio, greeted, of

SOFT = base64.b64encode(b"\x5c\xdc" * 80).decode()  # about -40 dBFS
DOUBTFUL_AFTER = ASK_AFTER + ANSWER_WITHIN + 0.1


def speaks_up(call: Call, item: str = "c1") -> None:
    """The caller says something, which the model hears."""
    call.hears(LOUD, 0.6)
    call.model(SpeechStarted())
    call.hears(QUIET, 0.5)
    call.model(SpeechStopped(), SpeechCommitted(item))


def beside(call: Call) -> list[OpenModel]:
    return [command for command in of(OpenModel, call.commands) if command.beside]


@pytest.fixture
def doubtful(talking: Call) -> Call:
    """Return a call whose model owes an answer and is silent. Another session was opened beside it, and was primed."""
    speaks_up(talking)
    talking.waits(DOUBTFUL_AFTER)
    talking.ready()
    return talking


class TestHedge:
    def test_a_model_that_owes_an_answer_and_does_not_even_answer_a_question_gets_a_rival(self, talking):
        speaks_up(talking)
        commands = talking.waits(DOUBTFUL_AFTER)
        assert of(AskAlive, commands)
        assert [command.beside for command in of(OpenModel, commands)] == [True]
        assert not of(DropModel, commands)

    def test_the_rival_is_given_the_callers_words_and_not_their_text(self, talking):
        speaks_up(talking)
        talking.model(CallerTranscript("c1", "Hello?"))
        (wanted,) = of(OpenModel, talking.waits(DOUBTFUL_AFTER))
        assert not [turn for turn in wanted.history if turn.text == "Hello?"]
        (prime,) = of(PrimeModel, talking.ready())
        assert prime.events.count(AppendAudio(LOUD)) == 30
        assert not of(CreateResponse, list(prime.events))  # it answers by itself what it hears

    def test_if_the_rival_speaks_first_it_goes_on_with_the_call(self, doubtful):
        commands = doubtful.does(doubtful.conversation.rival_speaks(doubtful.now))
        assert (len(of(DropModel, commands)), len(of(AdoptModel, commands))) == (1, 1)
        assert doubtful.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c2")) == []
        assert of(Media, doubtful.says(1.0, "item_9", "resp_9")) == [Media("MZ1", audio(1.0))]
        assert doubtful.conversation.phase is Phase.TALKING

    def test_what_the_caller_said_stays_one_turn_though_two_sessions_heard_it(self, doubtful):
        doubtful.does(doubtful.conversation.rival_speaks(doubtful.now))
        doubtful.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c2"), CallerTranscript("c2", "Hello?"))
        doubtful.answers(1.0, "item_9", "resp_9")
        assert [turn.text for turn in doubtful.said.values() if turn.role.value == "caller"] == ["Hello?"]
        (wanted,) = of(OpenModel, doubtful.loses_model())
        assert [turn.text for turn in wanted.history].count("Hello?") == 1

    def test_if_the_first_one_speaks_after_all_the_rival_is_closed(self, doubtful):
        commands = doubtful.says(1.0)
        assert of(Media, commands) == [Media("MZ1", audio(1.0))]
        assert of(DropBeside, commands)
        assert not of(DropModel, doubtful.commands)

    def test_audio_on_the_short_way_closes_the_rival_too(self, doubtful):
        doubtful.model(ResponseCreated("resp_1"))
        assert doubtful.conversation.agent_audio("resp_1", "item_1", 800, doubtful.now) is not None
        assert of(DropBeside, doubtful.does(doubtful.conversation.agent_spoke(doubtful.now)))

    def test_a_model_that_was_doubted_wrongly_is_given_more_time(self, doubtful):
        doubtful.answers(0.1)
        speaks_up(doubtful, "c2")
        doubtful.commands.clear()
        doubtful.waits(DOUBTFUL_AFTER)
        assert not beside(doubtful)

    def test_a_rival_that_is_lost_leaves_the_first_one_in_place(self, doubtful):
        commands = doubtful.does(doubtful.conversation.rival_failed("gone", doubtful.now))
        assert of(DropBeside, commands)
        assert of(Media, doubtful.says(1.0))

    def test_if_the_first_one_is_lost_the_rival_goes_on_at_once(self, doubtful):
        commands = doubtful.loses_model()
        assert of(AdoptModel, commands)
        assert not of(OpenModel, commands)
        doubtful.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c2"))
        assert of(Media, doubtful.says(1.0, "item_9", "resp_9"))

    def test_one_that_is_still_being_opened_takes_over_too(self, talking):
        speaks_up(talking)
        talking.waits(DOUBTFUL_AFTER)
        commands = talking.loses_model()
        assert not of(OpenModel, commands)
        assert of(AdoptModel, talking.ready())

    def test_if_neither_speaks_another_is_tried_and_in_the_end_the_safety_net(self, doubtful):
        for _ in range(MOST_STRIKES):
            if doubtful.ended is None:
                doubtful.waits(RIVAL_WITHIN + DOUBTFUL_AFTER + 1.5)
                doubtful.ready()
        doubtful.waits(2 * RIVAL_WITHIN)
        assert doubtful.ended.outcome is Outcome.FAILED
        assert "silent" in doubtful.ended.reason

    def test_one_that_can_not_be_opened_is_tried_again_and_costs_the_call_nothing(self, talking):
        speaks_up(talking)
        talking.waits(DOUBTFUL_AFTER)
        for _ in range(4):
            talking.unavailable(fatal=True)
            talking.waits(2.5)
        assert len(beside(talking)) >= 3
        assert talking.ended is None
        assert of(Media, talking.says(1.0))

    def test_what_was_asked_for_and_not_said_the_rival_is_asked_for_too(self, call):
        call.open()
        call.waits(DOUBTFUL_AFTER)
        (prime,) = of(PrimeModel, call.ready())
        (asked,) = of(CreateResponse, list(prime.events))
        assert "Hello!" in asked.instructions

    def test_a_model_that_stops_in_mid_sentence_gets_a_rival_that_goes_on_when_all_was_heard(self, talking):
        talking.says(5.0)
        assert beside_commands(talking.waits(DOUBTFUL_AFTER))
        assert not of(PrimeModel, talking.ready())  # the caller still hears the first one
        (prime,) = of(PrimeModel, talking.waits(5.0))
        assert "Go on where you stopped" in of(CreateResponse, list(prime.events))[0].instructions

    def test_one_that_goes_on_sending_needs_none(self, talking):
        talking.says(5.0)
        talking.waits(DOUBTFUL_AFTER)
        talking.ready()
        assert of(DropBeside, talking.model(*[ALIVE], ResponseDone("resp_1", "completed")) + talking.waits(5.0))

    def test_in_a_pause_one_that_answers_nothing_is_replaced_without_a_word(self, talking):
        talking.hears(LOUD, 0.6)
        assert beside_commands(talking.hears(QUIET, DOUBTFUL_AFTER + 0.6))
        (prime,) = of(PrimeModel, talking.ready())
        assert AppendAudio(LOUD) in prime.events


def beside_commands(commands: list[Any]) -> list[OpenModel]:
    return [command for command in of(OpenModel, commands) if command.beside]


def turns(call: Call, *, thinks: float, answers_after: float | None, count: int = 5, noise: str = QUIET) -> None:
    """Take some turns with a model that thinks for so long, and answers questions after so long, or never (None)."""
    for number in range(count):
        speaks_up(call, f"c{number}")
        due: list[float] = []
        until = call.now + thinks
        while call.now < until:
            found = call.hears(noise, 0.02)
            if answers_after is not None:
                due += [call.now + answers_after for _ in of(AskAlive, found)]
            while due and due[0] <= call.now:
                due.pop(0)
                call.model(ALIVE)
            if beside_commands(found):
                call.ready()
        call.model(ResponseCreated(f"resp_{number}"))
        call.answers(0.5, f"item_{number}", f"resp_{number}")
        call.now += 0.6
        call.returns_marks()


class TestLivingModels:
    @pytest.mark.parametrize("answers_after", [0.01, 0.3, 0.6, 0.9])
    @pytest.mark.parametrize("thinks", [0.8, 1.4, 2.2])
    def test_one_that_thinks_as_real_ones_do_is_neither_doubted_nor_talked_over(self, talking, thinks, answers_after):
        turns(talking, thinks=thinks, answers_after=answers_after)
        assert not beside(talking)
        assert Media("MZ1", ONE_MOMENT) not in talking.commands
        assert talking.conversation.reconnects == 0

    @pytest.mark.parametrize("thinks", [0.8, 1.4, 2.2])
    def test_one_that_answers_no_question_while_it_thinks_loses_no_answer_and_is_not_talked_over(self, talking, thinks):
        turns(talking, thinks=thinks, answers_after=None)
        spoken = [command for command in talking.commands if command == Media("MZ1", audio(0.5))]
        assert len(spoken) == 5
        assert Media("MZ1", ONE_MOMENT) not in talking.commands
        assert talking.conversation.reconnects == 0

    def test_how_long_it_takes_to_answer_is_learnt_from_its_opening_on(self):
        call = Call()
        call.does(call.conversation.begin())
        call.does(call.conversation.model_ready(call.now, 1.2))
        call.answers(0.5, "greeting", "resp_0")
        call.now += 0.6
        call.returns_marks()
        turns(call, thinks=2.2, answers_after=1.2)
        assert not beside(call)

    def test_one_that_lives_is_given_time_for_its_words_and_then_gets_a_rival_but_is_kept(self, talking):
        speaks_up(talking)
        assert not beside_commands(talking.lives(WORDS_WITHIN - 0.5))
        assert beside_commands(talking.lives(1.0))
        assert not of(DropModel, talking.commands)


class TestClips:
    def test_the_clip_is_played_when_a_thinking_model_takes_longer_than_usual(self, talking):
        speaks_up(talking)
        assert not of(Media, talking.lives(THINKING - 0.1))
        assert of(Media, talking.lives(0.3)) == [Media("MZ1", ONE_MOMENT)]

    def test_a_model_that_begins_by_itself_after_a_long_silence_has_kept_nobody_waiting(self, talking):
        talking.lives(THINKING + 5.0)
        talking.commands.clear()
        talking.model(ResponseCreated("r9"))
        assert not of(Media, talking.lives(THINKING - 0.1))
        assert of(Media, talking.lives(0.3)) == [Media("MZ1", ONE_MOMENT)]

    def test_what_is_usual_is_learnt_from_its_answers(self, talking):
        turns(talking, thinks=3.2, answers_after=0.01, count=3)
        talking.commands.clear()
        turns(talking, thinks=3.2, answers_after=0.01, count=3)
        assert Media("MZ1", ONE_MOMENT) not in talking.commands

    def test_but_nobody_waits_longer_than_this(self, talking):
        turns(talking, thinks=7.5, answers_after=0.01, count=2)
        talking.commands.clear()
        speaks_up(talking)
        assert of(Media, talking.lives(LONGEST + 0.3))

    def test_it_is_not_played_over_a_caller_who_speaks_softly_and_whom_the_model_hears(self, talking):
        talking.model(SpeechStarted())
        assert not of(Media, talking.hears(QUIET, 20.0))

    def test_in_steady_noise_a_thinking_model_gets_it_too(self, talking):
        talking.hears(LOUD, 2.0)
        talking.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c1"))
        found = []
        for _ in range(round((THINKING + 1.0) / 0.02)):
            commands = talking.hears(LOUD, 0.02)
            found += of(Media, commands)
            if of(AskAlive, commands):
                talking.model(ALIVE)
        assert found == [Media("MZ1", ONE_MOMENT)]

    def test_in_steady_noise_a_hung_model_is_asked_and_replaced(self, talking):
        commands = talking.hears(LOUD, ASK_IN_NOISE_AFTER + ANSWER_WITHIN + 0.5)
        assert of(AskAlive, commands)
        assert beside_commands(commands)

    def test_a_soft_caller_whom_a_hung_model_does_not_hear_is_heard_by_another(self, talking):
        talking.hears(SOFT, 1.0)
        assert beside_commands(talking.hears(QUIET, DOUBTFUL_AFTER + 0.6))
        assert of(AppendAudio, talking.ready()).count(AppendAudio(SOFT)) == 50

    def test_a_session_that_is_lost_in_mid_sentence_is_followed_by_it_at_once(self, talking):
        talking.says(1.0)
        talking.now += 1.0
        talking.hears(QUIET, 0.6)
        assert of(Media, talking.loses_model()) == [Media("MZ1", ONE_MOMENT)]

    def test_the_first_answer_of_a_new_session_needs_none(self, talking):
        speaks_up(talking)
        talking.hears(QUIET, 0.5)
        assert of(Media, talking.loses_model())
        talking.now += 1.1
        talking.returns_marks()
        talking.ready()
        assert not of(Media, talking.lives(THINKING - 0.2))


class TestNoAnswer:
    """A response that ended without a sound and without a tool is no answer, wherever it stands."""

    EMPTY = (
        ResponseDone("resp_1", "completed"),
        ResponseDone("resp_1", "incomplete", "content_filter"),
        ResponseDone("resp_1", "incomplete", "max_output_tokens", unfinished_call=True),
        ResponseDone("resp_1", "cancelled", "client_cancelled"),
        ResponseDone("resp_1", "failed", None, "server_error", "sorry"),
    )

    @pytest.mark.parametrize("done", EMPTY, ids=lambda done: f"{done.status} {done.reason}")
    def test_as_an_answer(self, talking, done):
        speaks_up(talking)
        talking.model(ResponseCreated("resp_1"), done)
        assert of(CreateResponse, talking.lives(WAITS[0] + 0.1)) == [CreateResponse()]
        assert of(Media, talking.answers(1.0, "item_2", "resp_2"))
        assert talking.ended is None

    @pytest.mark.parametrize("done", EMPTY, ids=lambda done: f"{done.status} {done.reason}")
    def test_as_the_greeting(self, call, done):
        call.open()
        call.model(ResponseCreated("resp_1"), done)
        assert "Hello!" in of(CreateResponse, call.lives(WAITS[0] + 0.1))[0].instructions

    @pytest.mark.parametrize("done", EMPTY, ids=lambda done: f"{done.status} {done.reason}")
    def test_behind_a_tools_output(self, talking, done):
        speaks_up(talking)
        talking.model(ResponseCreated("resp_0"), FunctionCall("call_1", "unknown", "{}", "resp_0"))
        assert of(CreateResponse, talking.model(ResponseDone("resp_0", "completed")))
        talking.model(ResponseCreated("resp_1"), done)
        assert of(CreateResponse, talking.lives(WAITS[0] + 0.1)) == [CreateResponse()]

    def test_one_that_broke_off_in_the_middle_of_a_call_of_a_tool_is_to_go_on(self, talking):
        speaks_up(talking)
        talking.says(1.0)
        talking.model(ResponseDone("resp_1", "incomplete", "max_output_tokens", unfinished_call=True))
        assert of(CreateResponse, talking.lives(WAITS[0] + 0.1)) == [CreateResponse()]

    def test_one_that_breaks_off_again_and_again_is_not_asked_for_ever(self, talking):
        speaks_up(talking)
        for number in range(5):
            talking.says(1.0, f"item_{number}", f"resp_{number}")
            talking.model(ResponseDone(f"resp_{number}", "incomplete", "max_output_tokens"))
            asked = of(CreateResponse, talking.lives(1.5))
            assert len(asked) == (number == 0)
            if number:
                break
        assert talking.ended is None

    def test_where_nothing_is_owed_it_changes_nothing(self, talking):
        talking.model(ResponseCreated("resp_1"), ResponseDone("resp_1", "completed"))
        assert not of(CreateResponse, talking.lives(3.0))

    def test_one_that_fails_after_a_retry_that_the_caller_cut_off_does_not_end_the_call(self, talking):
        failed = ResponseDone("resp_1", "failed", None, "server_error", "sorry")
        speaks_up(talking)
        talking.model(ResponseCreated("resp_1"), failed)
        talking.lives(WAITS[0] + 0.1)
        talking.model(ResponseCreated("resp_2"), SpeechStarted(), ResponseDone("resp_2", "cancelled"))
        talking.model(SpeechStopped(), SpeechCommitted("c2"), ResponseCreated("resp_3"))
        talking.model(replace(failed, response_id="resp_3"))
        assert talking.ended is None
        talking.lives(WAITS[1] + 0.1)
        assert of(Media, talking.answers(1.0, "item_4", "resp_4"))

    def test_a_model_that_never_begins_its_own_answer_is_asked_for_it(self, talking):
        speaks_up(talking)
        assert of(CreateResponse, talking.lives(4.0)) == [CreateResponse()]

    def test_limits_on_the_first_model_lead_to_a_session_at_another_server(self):
        call = greeted(Call(replace(AGENT, has_second_model=True)))
        limited = ResponseDone("resp_1", "failed", None, "rate_limit_exceeded", "Please try again in 1.5s.")
        speaks_up(call)
        call.model(ResponseCreated("resp_1"), limited)
        call.lives(1.7)
        call.model(ResponseCreated("resp_2"), replace(limited, response_id="resp_2"))
        assert len(beside(call)) == 1
        call.ready()
        call.does(call.conversation.rival_speaks(call.now))
        call.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c2"))
        assert of(Media, call.says(1.0, "item_9", "resp_9"))
        assert call.ended is None


class TestCuts:
    def test_an_item_that_never_had_audio_is_not_truncated(self, talking):
        talking.model(ResponseCreated("resp_1"), SpeechStarted(), ResponseDone("resp_1", "cancelled"))
        assert not of(TruncateItem, talking.commands)

    def test_two_items_whose_audio_comes_by_turns_are_cut_where_each_was_heard(self, talking):
        talking.model(ResponseCreated("resp_1"))
        for item in ("a", "b", "a", "b"):
            talking.says(1.0, f"item_{item}")
        talking.now += 2.5
        cuts = of(TruncateItem, talking.model(SpeechStarted()))
        assert [(cut.item_id, cut.audio_end_ms) for cut in cuts] == [("item_a", 1500), ("item_b", 1000)]

    def test_late_audio_of_any_response_that_was_cut_off_is_not_heard(self, talking):
        for number in range(3):
            talking.says(1.0, f"item_{number}", f"resp_{number}")
            talking.now += 0.5
            speaks_up(talking, f"c{number}")
        for number in range(3):
            late = talking.model(*[delta(f"resp_{number}", f"item_{number}")])
            assert not of(Media, late)

    def test_a_part_that_is_not_the_first_of_its_item_is_truncated_by_its_index(self, talking):
        talking.model(ResponseCreated("resp_1"))
        talking.model(replace(delta("resp_1", "item_1", 2.0), content_index=1))
        talking.now += 1.0
        (cut,) = of(TruncateItem, talking.model(SpeechStarted()))
        assert (cut.item_id, cut.content_index, cut.audio_end_ms) == ("item_1", 1, 1000)

    def test_what_was_never_heard_is_not_remembered_as_said(self, talking):
        talking.says(1.0)
        talking.model(SpeechStarted())
        (wanted,) = of(OpenModel, talking.loses_model())
        assert not [turn for turn in wanted.history if turn.role.value == "agent" and turn.text]

    def test_a_caller_who_speaks_over_the_agent_silences_it_at_once(self, talking):
        talking.says(3.0)
        talking.now += 1.0
        assert talking.model(SpeechStarted())[:2] == [Clear("MZ1"), TruncateItem("item_1", 1000)]


def delta(response: str, item: str, seconds: float = 0.1) -> Any:
    return AudioDelta(response, item, audio(seconds))


class TestMemoryOfWords:
    def test_speech_is_kept_however_long_the_silence_behind_it(self, talking):
        talking.hears(LOUD, 0.6)
        talking.loses_model()
        talking.hears(QUIET, 30.0)
        assert of(AppendAudio, talking.ready()).count(AppendAudio(LOUD)) == 30

    def test_what_could_not_be_transcribed_is_known_as_that(self, talking):
        speaks_up(talking)
        (note,) = talking.model(CallerTranscriptFailed("c1", "audio_unintelligible", "no"))
        assert "could not transcribe" in note.text
        assert "could not be transcribed" in talking.said["c1"].text

    def test_the_greeting_reaches_the_model_as_it_is_written(self):
        call = Call(replace(AGENT, greeting='Grüß Gott, "Ada"!'))
        assert 'Grüß Gott, "Ada"!' in of(CreateResponse, call.open())[0].instructions

    def test_the_same_call_of_a_tool_twice_is_carried_out_once(self, talking):
        speaks_up(talking)
        talking.model(ResponseCreated("resp_1"), FunctionCall("call_1", "unknown", "{}", "resp_1"))
        assert not of(AddUserText, talking.model(FunctionCall("call_1", "unknown", "{}", "resp_1")))

    def test_an_error_without_any_field_changes_nothing(self, talking):
        talking.model(ErrorEvent("unknown", ""))
        assert talking.ended is None


class TestRecovery:
    def test_a_limit_of_the_only_server_is_waited_for_and_no_other_session_is_opened_under_it(self, talking):
        limited = ResponseDone("resp_1", "failed", None, "rate_limit_exceeded", "Please try again in 5s.")
        speaks_up(talking)
        for number in range(3):
            talking.model(ResponseCreated(f"resp_{number}"), replace(limited, response_id=f"resp_{number}"))
            assert not of(CreateResponse, talking.lives(4.8))
            assert of(CreateResponse, talking.lives(0.4))
        assert not beside(talking)

    def test_failures_that_lie_far_apart_do_not_add_up(self, talking):
        for number in range(2 * MOST_STRIKES):
            talking.loses_model()
            talking.ready()
            talking.now += 130
            talking.twilio(Media("MZ1", QUIET))
            assert talking.ended is None, number

    def test_servers_that_take_long_to_fail_are_not_tried_for_ever(self, call):
        call.does(call.conversation.begin())
        for _ in range(5):
            call.waits(13.0)
            call.unavailable()
        assert call.ended.outcome is Outcome.FAILED

    def test_a_caller_who_speaks_over_a_hung_model_is_heard_and_the_model_silenced(self, talking):
        talking.says(30.0)
        talking.hears(LOUD, 1.0)
        talking.hears(QUIET, DOUBTFUL_AFTER + 0.6)
        commands = talking.ready()
        (prime,) = of(PrimeModel, commands)
        assert AppendAudio(LOUD) in prime.events
        assert of(Clear, commands)

    def test_a_soft_caller_who_begins_when_the_model_is_lost_is_not_talked_over(self, talking):
        talking.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c1"))
        talking.loses_model()
        talking.commands.clear()
        talking.now += 1.0
        talking.returns_marks()
        assert not of(Media, talking.hears(SOFT, 4.0))
        assert of(Media, talking.hears(QUIET, NO_MODEL + 0.2))
