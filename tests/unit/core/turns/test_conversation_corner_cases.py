"""Orders of events that only random ones had come up with."""

from __future__ import annotations

import base64

import pytest
from callgate.core.protocols.realtime import (
    AddAgentText,
    AddUserText,
    AgentTranscript,
    AppendAudio,
    AskAlive,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    CallerTranscriptFailed,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    RemoteCallBegan,
    ResponseCreated,
    ResponseDone,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
)
from callgate.core.turns.commands import AdoptModel, DropBeside, Note, OpenModel, Outcome, PrimeModel
from callgate.core.turns.recovery import MOST_STRIKES, RIVAL_WITHIN
from callgate.core.turns.transcript import Role
from callgate.core.wire.media_stream import Clear, Dtmf, Mark, Media
from support.conversation_driver import EQUIPPED, LOUD, QUIET, Call, audio, greeted, of

SOFT = base64.b64encode(b"\xdf" * 160).decode()


class TestCallerAudio:
    def test_silence_that_lasts_from_before_an_answer_to_after_the_next_loss_is_kept_like_any_other(self, talking):
        talking.hears(LOUD, 0.4)
        talking.model(SpeechStarted())
        talking.hears(QUIET, 1.5)
        talking.model(SpeechStopped())
        talking.says(0.2)
        talking.loses_model()
        talking.hears(QUIET, 0.4)
        assert talking.ended is None

    def test_a_caller_who_speaks_after_noise_that_a_new_session_was_given_interrupts_what_still_plays(self, talking):
        talking.answers(6.0)
        talking.hears(LOUD, 0.4)
        talking.loses_model()
        talking.ready()
        talking.hears(QUIET, 2.0)
        assert of(Clear, talking.model(SpeechStarted()))

    def test_words_said_before_an_answer_to_earlier_ones_arrived_are_kept(self, talking):
        talking.hears(LOUD, 0.4)
        talking.model(SpeechStarted(), SpeechStopped())
        talking.hears(SOFT, 0.4)
        talking.says(0.2)  # late
        talking.model(SpeechStarted())
        talking.loses_model()
        given = [each.audio for each in of(AppendAudio, talking.ready())]
        assert (given.count(LOUD), given.count(SOFT)) == (0, 20)

    def test_words_said_before_a_tool_was_called_in_an_answer_to_earlier_ones_are_kept(self, talking):
        talking.hears(LOUD, 0.4)
        talking.model(SpeechStarted(), SpeechStopped())
        talking.says(0.2)
        talking.hears(SOFT, 0.4)
        talking.model(FunctionCall("call_1", "unknown", "{}", "resp_1"), SpeechStarted())
        talking.loses_model()
        assert [each.audio for each in of(AppendAudio, talking.ready())].count(SOFT) == 20

    def test_soft_words_to_a_model_that_does_not_answer_are_kept_for_the_next_one(self, talking):
        talking.says(0.5)
        assert of(AskAlive, talking.waits(0.5))
        talking.hears(SOFT, 1.0)
        talking.loses_model()
        assert len([each for each in of(AppendAudio, talking.ready()) if each.audio == SOFT]) == 50

    def test_soft_words_that_only_a_rival_heard_are_kept_for_yet_another_session(self, talking):
        says_nothing(talking, "resp_1")
        talking.waits(0.1)
        says_nothing(talking, "resp_2")
        assert of(PrimeModel, talking.ready())
        talking.hears(SOFT, 1.0)
        talking.does(talking.conversation.rival_speaks(talking.now))
        talking.model(SpeechStarted())
        talking.loses_model()
        assert len([each for each in of(AppendAudio, talking.ready()) if each.audio == SOFT]) == 50

    def test_soft_words_to_a_rival_that_was_given_noise_interrupt_what_it_says(self, talking):
        says_nothing(talking, "resp_1")
        talking.waits(0.1)
        says_nothing(talking, "resp_2")
        talking.hears(LOUD, 0.4)
        assert of(PrimeModel, talking.ready())
        talking.does(talking.conversation.rival_speaks(talking.now))
        talking.answers(2.0, "item_3", "resp_3")
        talking.hears(SOFT, 0.6)
        assert of(Clear, talking.model(SpeechStarted()))


class TestMemory:
    def test_a_part_that_was_heard_to_its_end_is_recorded_so_though_the_caller_speaks_right_behind_it(self, talking):
        talking.model(ResponseCreated("resp_1"), *[AudioDelta("resp_1", "item_1", audio(0.5))] * 4)
        talking.model(AudioDone("resp_1", "item_1"), ResponseDone("resp_1", "completed"))
        talking.waits(1.1)
        talking.twilio(of(Mark, talking.commands)[1])
        assert talking.said["item_1"].heard_ms == 1000
        talking.waits(1.0)
        talking.model(SpeechStarted())
        assert talking.said["item_1"].heard_ms is None

    def test_text_of_what_nobody_heard_is_not_recorded_as_said(self, talking):
        talking.model(ResponseCreated("resp_1"), SpeechStarted(), AudioDelta("resp_1", "item_1", audio(0.5)))
        talking.model(AudioDone("resp_1", "item_1"), AgentTranscript("item_1", "Never heard.", True, 0, "resp_1"))
        assert talking.said["item_1"].heard_text == ""

    def test_words_that_one_session_had_in_writing_are_kept_if_the_next_can_not_write_them_down(self, talking):
        speaks(talking, "said_1")
        talking.model(CallerTranscript("said_1", "Hello?"))
        talking.loses_model()
        talking.ready()
        speaks(talking, "said_2")
        talking.model(CallerTranscriptFailed("said_2", "audio_unintelligible"))
        assert {turn.item_id: turn.text for turn in talking.said.values() if turn.role is Role.CALLER} == {
            "said_1": "Hello?"
        }

    def test_words_before_the_greeting_are_one_turn_however_many_sessions_hear_them(self, call):
        call.open()
        speaks(call, "said_1")
        call.loses_model()
        call.ready()
        speaks(call, "said_2")
        assert [turn.item_id for turn in call.said.values() if turn.role is Role.CALLER] == ["said_1"]

    def test_words_whose_item_was_not_told_are_not_told_in_writing_besides(self, talking):
        talking.hears(LOUD, 0.4)
        talking.model(SpeechStarted(), SpeechStopped(), CallerTranscript("said_1", "Hello?"))
        (wanted,) = of(OpenModel, talking.loses_model())
        assert not wanted.history
        assert AppendAudio(LOUD) in talking.ready()

    def test_a_note_that_came_after_a_rival_was_told_everything_is_told_to_it_and_answered(self, talking):
        says_nothing(talking, "resp_1")
        talking.waits(0.1)
        says_nothing(talking, "resp_2")
        assert of(PrimeModel, talking.ready())
        talking.twilio(Dtmf("MZ1", "4"))
        talking.twilio(Dtmf("MZ1", "#"))
        told = of(AddUserText, talking.does(talking.conversation.rival_speaks(talking.now)))
        assert told == [AddUserText("[The caller pressed these keys on the telephone: 4#]")]
        commands = talking.answers(response="resp_3", item="item_3")
        assert of(CreateResponse, commands)

    def test_an_item_that_is_told_twice_is_one_turn(self, talking):
        speaks(talking, "said_1")
        speaks(talking, "said_2")
        talking.loses_model()
        talking.ready()
        talking.model(SpeechCommitted("said_3"), SpeechCommitted("said_3"), SpeechCommitted("said_4"))
        talking.model(CallerTranscript("said_3", "One."), CallerTranscript("said_4", "Two."))
        texts = [turn.text for turn in talking.said.values() if turn.role is Role.CALLER]
        assert texts == ["One.", "Two."]

    def test_words_that_were_heard_too_late_to_be_kept_are_told_in_writing(self, talking):
        talking.hears(QUIET, 2.0)
        talking.model(SpeechStopped(), SpeechCommitted("said_1"), CallerTranscript("said_1", "Hello?"))
        talking.model(SpeechStarted())
        (wanted,) = of(OpenModel, talking.loses_model())
        assert [turn.text for turn in wanted.history] == ["Hello?"]

    def test_words_that_two_sessions_hear_beside_each_other_are_one_turn(self, talking):
        says_nothing(talking, "resp_1")
        talking.waits(0.1)
        says_nothing(talking, "resp_2")
        assert of(PrimeModel, talking.ready())
        speaks(talking, "said_1")
        talking.does(talking.conversation.rival_speaks(talking.now))
        speaks(talking, "said_2")
        assert [turn.item_id for turn in talking.said.values() if turn.role is Role.CALLER] == ["said_1"]

    def test_text_of_what_comes_behind_the_last_word_is_not_recorded_as_said(self, talking):
        talking.says(1.0)
        talking.model(FunctionCall("call_1", "hang_up", "{}", "resp_1"), ResponseDone("resp_1", "completed"))
        talking.model(AudioDelta("resp_2", "item_2", audio(0.5)), AgentTranscript("item_2", "Never heard.", True))
        assert "item_2" not in talking.said

    def test_text_of_audio_that_came_after_the_caller_had_begun_to_speak_is_not_taken_for_heard(self, talking):
        talking.says(1.0)
        talking.waits(1.0)
        talking.model(SpeechStarted(), AudioDelta("resp_1", "item_1", audio(1.0)))
        talking.model(AgentTranscript("item_1", "One two three four", True, 0, "resp_1"))
        assert talking.said["item_1"].heard_text == "One two"

    def test_what_a_session_said_within_its_last_second_is_told_to_the_next(self, talking):
        talking.says(0.8)
        talking.model(AgentTranscript("item_1", "One two."))
        talking.loses_model()
        assert of(AddAgentText, talking.ready()) == [AddAgentText("One two.")]

    def test_text_that_arrives_while_a_session_is_opened_beside_is_told_to_it_too(self, talking):
        talking.says(1.0)
        talking.model(AgentTranscript("item_1", "One two"), AudioDone("resp_1", "item_1"))
        talking.waits(1.2)
        talking.returns_marks()
        (wanted,) = of(OpenModel, talking.waits(2.0))
        talking.model(AgentTranscript("item_1", " three four."))
        talking.loses_model()
        assert wanted.history[-1].text == "One two"
        assert of(AddAgentText, talking.ready()) == [AddAgentText("three four.")]

    def test_what_still_plays_while_a_session_is_opened_beside_is_told_to_it_as_far_as_it_was_heard(self, talking):
        talking.says(4.0)
        talking.model(AgentTranscript("item_1", "One two three four"))
        (wanted,) = of(OpenModel, talking.waits(2.0))
        talking.model(SpeechStarted())
        talking.loses_model()
        assert not wanted.history
        assert of(AddAgentText, talking.ready()) == [AddAgentText("One two")]


class TestTurns:
    def test_an_answer_whose_beginning_is_told_twice_is_not_asked_for_again(self, talking):
        talking.twilio(Dtmf("MZ1", "#"))
        began = ResponseCreated("resp_1")
        talking.model(began, began, AudioDelta("resp_1", "item_1", audio(0.5)))
        assert not of(CreateResponse, talking.model(ResponseDone("resp_1", "completed")))

    def test_a_caller_who_speaks_just_as_another_session_takes_over_interrupts_what_still_plays(self, talking):
        talking.answers(6.0)
        talking.hears(LOUD, 0.4)
        talking.loses_model()
        talking.ready()
        talking.hears(QUIET, 0.6)
        talking.hears(LOUD, 0.2)
        assert of(Clear, talking.model(SpeechStarted()))

    def test_no_clip_is_played_over_a_caller_who_begins_to_speak_as_the_model_is_lost(self, talking):
        talking.hears(LOUD, 0.06)
        talking.model(SpeechStarted())
        assert not of(Media, talking.loses_model())

    def test_words_whose_beginning_was_not_told_silence_the_agent_and_are_answered(self, talking):
        talking.says(6.0)
        assert of(Clear, talking.model(SpeechStopped(), SpeechCommitted("said_1")))
        assert of(Media, talking.says(1.0, "item_2", "resp_2"))

    def test_an_answer_that_begins_while_the_caller_speaks_is_not_heard(self, talking):
        talking.model(SpeechStarted())
        assert not of(Media, talking.says(1.0))

    def test_if_it_was_whole_and_the_caller_is_silent_it_is_asked_for_again(self, talking):
        talking.model(SpeechStarted())
        talking.waits(1.5)
        talking.answers(1.0)
        next_request(talking)

    def test_the_models_own_answer_to_words_that_were_answered_is_not_heard_while_a_tool_is_at_work(self):
        equipped = greeted(Call(EQUIPPED))
        equipped.model(SpeechStarted(), SpeechStopped())
        next_request(equipped)
        equipped.model(ResponseCreated("resp_1"), FunctionCall("call_1", "get_weather", "{}", "resp_1"))
        equipped.does(equipped.conversation.tool_done("call_1", "{}", equipped.now))
        equipped.model(ResponseDone("resp_1", "failed", None, "server_error", ""))
        assert not of(Media, equipped.says(1.0, "item_2", "resp_2"))

    def test_an_answer_that_ends_behind_the_beginning_of_the_next_does_not_end_that(self, talking):
        talking.says(1.0)
        talking.model(ResponseCreated("resp_2"), ResponseDone("resp_1", "completed"))
        assert not of(CreateResponse, talking.twilio(Dtmf("MZ1", "#")))

    def test_what_waits_for_the_end_of_an_answer_that_is_never_told_is_asked_of_another_session(self, talking):
        talking.model(SpeechStarted(), SpeechStopped())
        next_request(talking)
        talking.answers(0.2)
        talking.model(ResponseCreated("resp_2"))  # its own answer, which is not to be heard
        talking.twilio(Dtmf("MZ1", "#"))
        assert of(OpenModel, talking.lives(12.0))


class TestRival:
    """Another session that was told everything beside a doubtful one."""

    @pytest.fixture
    def beside(self, talking):
        """A call with a rival, whose caller waits for the answer to keys that they have pressed."""
        says_nothing(talking, "resp_1")
        talking.waits(0.1)
        says_nothing(talking, "resp_2")
        assert of(PrimeModel, talking.ready())
        return talking

    def test_what_a_request_was_about_that_was_refused_meanwhile_is_not_asked_again_behind_its_answer(self, beside):
        (asked,) = of(CreateResponse, beside.waits(1.0))
        beside.model(ErrorEvent("server_error", "", event_id=asked.event_id))
        beside.does(beside.conversation.rival_speaks(beside.now))
        assert not of(CreateResponse, beside.answers(response="resp_3", item="item_3"))

    def test_it_is_closed_when_the_answer_that_was_heard_before_proves_to_be_whole(self, talking):
        talking.says(0.5)
        talking.waits(3.0)
        assert of(PrimeModel, talking.ready())
        assert of(DropBeside, talking.model(ResponseDone("resp_1", "completed")))

    def test_it_is_not_asked_to_speak_where_nothing_but_noise_is_to_be_answered(self, talking):
        talking.hears(LOUD, 0.4)
        talking.waits(3.0)
        (primed,) = of(PrimeModel, talking.ready())
        assert not of(CreateResponse, primed.events)

    def test_that_neither_says_anything_then_is_no_failure(self, talking):
        talking.hears(LOUD, 0.4)
        talking.waits(3.0)
        talking.ready()
        commands = talking.waits(12.0)
        assert of(AdoptModel, commands)
        assert not [note for note in of(Note, commands) if "did not answer" in note.text]

    def test_it_is_given_time_from_when_there_is_something_to_answer(self, talking):
        talking.hears(LOUD, 0.4)
        talking.waits(3.0)
        assert of(PrimeModel, talking.ready())
        talking.waits(6.0)
        talking.model(SpeechStarted(), SpeechStopped())
        assert not of(AdoptModel, talking.waits(4.0))

    def test_if_it_can_not_be_opened_the_session_that_serves_the_call_is_not_replaced_in_a_pause(self, talking):
        talking.says(0.5)
        talking.waits(3.0)
        talking.unavailable()
        talking.model(ResponseDone("resp_1", "completed"))
        assert not of(OpenModel, talking.lives(15.0))

    def test_a_doubtful_one_that_is_spoken_over_is_not_heard_any_more_and_the_rival_goes_on(self, talking):
        talking.says(4.0)
        assert of(OpenModel, talking.waits(2.0))
        assert not of(PrimeModel, talking.ready())
        commands = talking.hears(LOUD, 0.6)
        assert of(Clear, commands)
        (primed,) = of(PrimeModel, commands)
        assert of(CreateResponse, primed.events)
        assert not of(Media, talking.model(AudioDelta("resp_1", "item_1", audio(0.5))))

    def test_noise_does_not_keep_it_from_being_asked_for_what_is_owed(self, talking):
        says_nothing(talking, "resp_1")
        talking.waits(0.1)
        says_nothing(talking, "resp_2")
        talking.hears(LOUD, 0.4)
        (primed,) = of(PrimeModel, talking.ready())
        assert of(CreateResponse, primed.events)
        assert AppendAudio(LOUD) in primed.events

    def test_it_is_given_up_and_not_a_living_one_that_has_just_been_asked_whether_it_lives(self, beside):
        until = beside.now + RIVAL_WITHIN
        next_request(beside)
        beside.model(ResponseCreated("resp_3"))
        beside.lives(until - 0.5 - beside.now)
        commands = beside.waits(0.8)
        assert of(AskAlive, commands)
        assert not of(AdoptModel, commands)
        assert of(DropBeside, commands)

    def test_it_is_waited_for_before_the_safety_net(self, beside):
        for _ in range(MOST_STRIKES - 2):
            fails(beside)
        assert beside.ended is None
        beside.does(beside.conversation.rival_failed("gone", beside.now))
        assert beside.ended.outcome is Outcome.FAILED

    def test_the_doubtful_one_is_waited_for_before_the_safety_net_too(self, beside):
        for _ in range(MOST_STRIKES - 2):
            fails(beside)
        next_request(beside)
        beside.model(ResponseCreated("resp_3"))
        beside.does(beside.conversation.rival_failed("gone", beside.now))
        assert beside.ended is None
        assert of(Media, beside.answers(response="resp_3", item="item_3"))


def test_a_session_that_takes_over_from_a_long_silence_is_given_time(talking):
    talking.model(SpeechStarted(), SpeechStopped())
    talking.loses_model()
    talking.waits(12.0)
    talking.ready()
    assert not of(OpenModel, talking.lives(2.0))


class TestRemoteTools:
    def test_words_are_answered_by_a_call_that_the_api_itself_makes(self, talking):
        speaks(talking, "said_1")
        talking.model(ResponseCreated("resp_1"), RemoteCallBegan("mcp_1"))
        talking.loses_model()
        assert AppendAudio(LOUD) not in talking.ready()

    def test_a_model_that_has_the_api_call_a_tool_needs_no_other_beside_it(self, talking):
        says_nothing(talking, "resp_1")
        talking.waits(0.1)
        says_nothing(talking, "resp_2")
        assert of(PrimeModel, talking.ready())
        assert of(DropBeside, talking.model(ResponseCreated("resp_3"), RemoteCallBegan("mcp_1")))


def test_a_caller_who_is_loud_for_long_does_not_make_the_call_busy(talking):
    talking.model(SpeechStarted(), SpeechStopped())
    talking.hears(LOUD, 4.0)
    assert talking.conversation.deadline() > talking.now + 0.05


def fails(call: Call) -> None:
    """Let the model refuse the next request."""
    call.model(ErrorEvent("server_error", "", event_id=next_request(call).event_id))


def next_request(call: Call) -> CreateResponse:
    """Wait for a request, which comes in time."""
    for _ in range(50):
        if asked := of(CreateResponse, call.lives(0.1)):
            return asked[0]
    raise AssertionError("nothing is asked for")


def test_a_last_word_whose_end_is_not_told_does_not_make_the_call_busy(talking):
    talking.says(6.0)
    talking.model(FunctionCall("call_1", "hang_up", "{}", "resp_1"))
    talking.waits(3.0)
    assert talking.conversation.deadline() > talking.now + 0.05


def says_nothing(call: Call, response: str) -> None:
    """Let the model be asked for a response, and make an empty one."""
    call.twilio(Dtmf("MZ1", "#"))
    call.model(ResponseCreated(response), ResponseDone(response, "completed"))


def speaks(call: Call, item: str) -> None:
    """Let the caller speak, and the model hear it."""
    call.hears(LOUD, 0.4)
    call.model(SpeechStarted(), SpeechStopped(), SpeechCommitted(item))
