"""Turn-taking: what the caller and the model do, and what is sent to either as a result."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from callgate.core.protocols.realtime import (
    ALREADY_RESPONDING,
    AddFunctionOutput,
    AddUserText,
    AgentTranscript,
    AppendAudio,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    Other,
    ResponseCreated,
    ResponseDone,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
    TruncateItem,
)
from callgate.core.turns.answering import AGAIN_AFTER
from callgate.core.turns.caller_audio import KEPT_FRAMES
from callgate.core.turns.comfort import NO_MODEL, THINKING
from callgate.core.turns.commands import AdoptModel, Note, OpenModel, Outcome
from callgate.core.turns.conversation import CALLER_DEADLINE
from callgate.core.turns.ending import PLAYED_DEADLINE
from callgate.core.turns.keypad import KEYS_TOGETHER
from callgate.core.turns.recovery import MOST_STRIKES, WAITS
from callgate.core.turns.serving import Phase
from callgate.core.wire.media_stream import Clear, Connected, Dtmf, Mark, Media, Start, Stop, Unknown
from callgate.errors import MediaStreamError
from support.conversation_driver import AGENT, ONE_MOMENT, QUIET, START, Call, audio, greeted, of


class TestOpening:
    def test_the_model_is_opened_first(self, call):
        assert call.does(call.conversation.begin()) == [OpenModel(0.0, ())]

    def test_no_audio_is_sent_before_the_session_is_ready(self, call):
        call.does(call.conversation.begin())
        call.twilio(Media("MZ1", QUIET))
        assert not of(AppendAudio, call.commands)

    def test_the_agent_greets_first_and_then_hears_what_the_caller_said_meanwhile(self, call):
        call.does(call.conversation.begin())
        call.twilio(Media("MZ1", QUIET))
        adopt, greet, *kept = call.ready()
        assert adopt == AdoptModel()
        assert isinstance(greet, CreateResponse)
        assert "Hello!" in greet.instructions
        assert kept == [AppendAudio(QUIET)]

    def test_a_model_that_takes_long_to_open_costs_only_the_oldest_audio(self, call):
        call.does(call.conversation.begin())
        for number in range(KEPT_FRAMES + 10):
            call.twilio(Media("MZ1", f"{number:04}"))
        kept = of(AppendAudio, call.ready())
        assert kept[0] == AppendAudio("0010")
        assert len(kept) == KEPT_FRAMES

    def test_a_caller_who_waits_for_the_first_word_is_told_that_it_comes(self, call):
        call.does(call.conversation.begin())
        assert not of(Media, call.waits(NO_MODEL - 0.1))
        assert of(Media, call.waits(0.2)) == [Media("MZ1", ONE_MOMENT)]

    def test_a_session_that_can_not_be_opened_is_tried_again_and_then_the_call_fails(self, call):
        call.does(call.conversation.begin())
        waits = [of(OpenModel, call.unavailable())[0].after for _ in range(MOST_STRIKES - 1)]
        assert waits == sorted(waits)
        call.unavailable()
        assert (call.ended.outcome, call.ended.reason) == (Outcome.FAILED, f"no ({MOST_STRIKES} times)")

    def test_a_refusal_is_final(self, call):
        call.does(call.conversation.begin())
        call.unavailable(fatal=True)
        assert (call.ended.outcome, call.ended.reason) == (Outcome.FAILED, "no")


class TestTalking:
    def test_the_callers_audio_passes_unchanged(self, talking):
        assert talking.twilio(Media("MZ1", "AAAA")) == [AppendAudio("AAAA")]

    def test_the_agents_audio_passes_unchanged_with_a_mark(self, talking):
        media, mark = talking.model(AudioDelta("resp_1", "item_1", audio(0.5)))
        assert media == Media("MZ1", audio(0.5))
        assert isinstance(mark, Mark)

    def test_small_deltas_share_a_mark(self, talking):
        commands = [c for _ in range(40) for c in talking.model(AudioDelta("resp_1", "item_1", audio(0.02)))]
        assert len([c for c in commands if isinstance(c, Mark)]) == 2

    def test_events_it_does_not_know_change_nothing(self, talking):
        assert talking.model(Other("something.new")) == []
        (note,) = talking.twilio(Unknown("something-new"))
        assert note.level == logging.DEBUG

    def test_benign_errors_do_not_alarm_anybody(self, talking):
        (note,) = talking.model(ErrorEvent("response_cancel_not_active", ""))
        assert note.level == logging.DEBUG

    def test_other_errors_are_warned_of_and_the_call_goes_on(self, talking):
        (note,) = talking.model(ErrorEvent("invalid_value", "what"))
        assert note.level == logging.WARNING
        assert talking.ended is None

    @pytest.mark.parametrize("code", ["insufficient_quota", "invalid_api_key"])
    def test_errors_that_no_other_try_can_help_end_the_call(self, talking, code):
        talking.model(ErrorEvent(code, "no"))
        assert talking.ended.outcome is Outcome.FAILED

    def test_where_there_is_a_second_model_it_is_turned_to(self):
        call = greeted(Call(replace(AGENT, has_second_model=True)))
        assert of(OpenModel, call.model(ErrorEvent("insufficient_quota", "no")))
        assert call.ended is None

    def test_a_failed_response_is_asked_for_again_and_then_another_session_is_opened_beside(self, talking):
        failed = ResponseDone("resp_1", "failed", None, "server_error", "sorry")
        talking.model(SpeechStarted(), SpeechStopped(), ResponseCreated("resp_1"))
        (note,) = talking.model(failed)
        assert note.level == logging.WARNING
        assert of(CreateResponse, talking.lives(WAITS[0] + 0.1)) == [CreateResponse()]
        talking.model(ResponseCreated("resp_2"))
        commands = talking.model(replace(failed, response_id="resp_2"))
        assert [command.beside for command in of(OpenModel, commands)] == [True]
        assert of(CreateResponse, talking.lives(WAITS[1] + 0.1)) == [CreateResponse()]
        assert talking.ended is None

    def test_a_model_that_said_when_to_try_again_is_asked_then(self, talking):
        failed = ResponseDone("resp_1", "failed", None, "rate_limit_exceeded", "Please try again in 1.5s.")
        talking.model(SpeechStarted(), SpeechStopped(), ResponseCreated("resp_1"), failed)
        assert not of(CreateResponse, talking.lives(1.4))
        assert of(CreateResponse, talking.lives(0.3)) == [CreateResponse()]

    def test_responses_that_fail_one_after_the_other_lead_to_the_safety_net_which_is_told_all(self, talking):
        talking.model(SpeechStarted(), SpeechStopped())
        for number in range(MOST_STRIKES):
            assert talking.ended is None
            talking.model(ResponseCreated(f"resp_{number}"))
            talking.model(ResponseDone(f"resp_{number}", "failed", None, "server_error", ""))
            talking.lives(3.0)
            talking.unavailable()
        assert talking.ended.outcome is Outcome.FAILED
        assert talking.ended.reason == f"its response failed (server_error) ({MOST_STRIKES} times)"

    def test_one_that_fails_after_another_was_answered_begins_from_the_start(self, talking):
        for number in range(2 * MOST_STRIKES):
            talking.model(SpeechStarted(), SpeechStopped(), ResponseCreated(f"resp_{number}"))
            talking.model(ResponseDone(f"resp_{number}", "failed", None, "server_error", "sorry"))
            talking.lives(0.2)
            talking.answers(0.1, f"item_{number}", f"again_{number}")
        assert talking.ended is None

    def test_a_greeting_that_failed_is_asked_for_again_as_it_is(self, call):
        call.open()
        call.model(ResponseCreated("resp_1"), ResponseDone("resp_1", "failed", None, "server_error", "sorry"))
        assert "Hello!" in of(CreateResponse, call.lives(0.2))[0].instructions

    def test_a_response_that_failed_for_want_of_credit_is_not_asked_for_again(self, talking):
        talking.model(ResponseCreated("resp_1"), ResponseDone("resp_1", "failed", None, "insufficient_quota", "pay"))
        assert "insufficient_quota" in talking.ended.reason

    def test_a_silent_caller_is_waited_for(self, talking):
        assert talking.waits(600) == []

    def test_audio_that_is_not_base64_is_skipped(self, talking):
        commands = talking.model(AudioDelta("resp_1", "item_1", "not base64!"))
        assert [type(command) for command in commands] == [Note]
        assert of(Media, talking.model(AudioDelta("resp_1", "item_1", audio(0.1))))

    def test_a_stream_that_went_quiet_is_lost(self, talking):
        talking.now += CALLER_DEADLINE + 0.1
        assert talking.does(talking.conversation.tick(talking.now))[0].outcome is Outcome.STREAM_LOST


class TestInterruption:
    def test_the_agent_falls_silent_and_the_model_learns_what_was_heard(self, talking):
        talking.says(5.0)
        talking.now += 1.5
        clear, truncate, note = talking.model(SpeechStarted())
        assert clear == Clear("MZ1")
        assert truncate == TruncateItem("item_1", 1500)
        assert isinstance(note, Note)

    def test_what_was_heard_is_what_the_marks_say(self, talking):
        talking.says(0.2)
        talking.model(AudioDelta("resp_1", "item_1", audio(5.0)))
        first = next(c for c in talking.commands if isinstance(c, Mark))
        talking.now += 1.0  # the line was slow: only the first 200 ms have been played
        talking.twilio(first)
        talking.now += 0.1
        (truncate,) = [c for c in talking.model(SpeechStarted()) if isinstance(c, TruncateItem)]
        assert truncate.audio_end_ms == 300

    def test_late_audio_of_the_interrupted_response_is_not_heard(self, talking):
        talking.says(2.0)
        talking.now += 0.5
        talking.model(SpeechStarted())
        assert talking.model(AudioDelta("resp_1", "item_1", audio(0.5))) == []

    def test_the_next_response_is_heard(self, talking):
        talking.says(2.0)
        talking.now += 0.5
        talking.model(SpeechStarted(), ResponseDone("resp_1", "cancelled", "turn_detected"), SpeechStopped())
        commands = talking.says(0.5, "item_2", "resp_2")
        assert commands[0] == Media("MZ1", audio(0.5))

    def test_after_all_was_heard_nothing_is_cut(self, talking):
        talking.says(1.0)
        talking.model(AudioDone("resp_1", "item_1"), ResponseDone("resp_1", "completed"))
        talking.now += 2
        talking.returns_marks()
        assert talking.model(SpeechStarted()) == []

    def test_truncation_is_never_beyond_what_was_sent(self, talking):
        talking.says(1.0)
        talking.now += 60
        (truncate,) = [c for c in talking.model(SpeechStarted()) if isinstance(c, TruncateItem)]
        assert truncate.audio_end_ms == 1000


class TestKeypad:
    def test_keys_pressed_together_reach_the_model_as_one_text(self, talking):
        for digit in "123":
            talking.twilio(Dtmf("MZ1", digit))
            talking.now += 0.5
        text, response, *_ = talking.lives(KEYS_TOGETHER)
        assert isinstance(text, AddUserText)
        assert text.text.endswith("123]")
        assert response == CreateResponse()

    def test_the_hash_key_ends_an_entry_at_once(self, talking):
        talking.twilio(Dtmf("MZ1", "7"))
        text, _ = talking.twilio(Dtmf("MZ1", "#"))
        assert text.text.endswith("7#]")

    def test_the_agent_finishes_its_response_before_it_answers_a_key(self, talking):
        talking.says(1.0)
        (text,) = talking.twilio(Dtmf("MZ1", "#"))
        assert isinstance(text, AddUserText)
        assert talking.model(ResponseDone("resp_1", "completed")) == [CreateResponse()]

    def test_a_response_already_under_way_at_the_server_is_waited_for_too(self, talking):
        talking.twilio(Dtmf("MZ1", "#"))
        talking.model(ErrorEvent(ALREADY_RESPONDING, ""), ResponseCreated("resp_9"))
        assert not of(CreateResponse, talking.answers(0.1, "item_9", "resp_9"))
        assert of(CreateResponse, talking.lives(AGAIN_AFTER + 0.1)) == [CreateResponse()]

    def test_a_refusal_that_arrives_behind_the_end_of_that_response_does_not_leave_the_caller_waiting(self, talking):
        talking.says(1.0)
        talking.twilio(Dtmf("MZ1", "#"))
        (asked,) = of(CreateResponse, talking.model(ResponseDone("resp_1", "completed")))
        talking.model(ErrorEvent(ALREADY_RESPONDING, "", event_id=asked.event_id))
        assert of(CreateResponse, talking.lives(AGAIN_AFTER + 0.1)) == [CreateResponse()]

    def test_an_error_about_something_else_is_not_taken_for_a_refusal(self, talking):
        talking.twilio(Dtmf("MZ1", "#"))
        talking.model(ErrorEvent(ALREADY_RESPONDING, "", event_id="another"), ErrorEvent("what", "", event_id="other"))
        assert not of(CreateResponse, talking.lives(THINKING))

    def test_keys_pressed_before_and_after_a_call_was_cut_off_are_both_remembered(self, talking):
        talking.twilio(Dtmf("MZ1", "1"))
        talking.lives(KEYS_TOGETHER + 0.1)
        resumed = Call(memory=tuple(talking.said.values()), start=Start("MZ2", "AC1", "CA1"))
        resumed.open()
        resumed.twilio(Dtmf("MZ2", "7"))
        resumed.lives(KEYS_TOGETHER + 0.1)
        (opened,) = of(OpenModel, resumed.loses_model())
        assert [turn.text[-2] for turn in opened.history if "keys" in turn.text] == ["1", "7"]

    def test_keys_pressed_while_the_session_opens_are_told_when_it_is_open(self, call):
        call.twilio(Dtmf("MZ1", "4"))
        call.waits(KEYS_TOGETHER * 2)
        call.open()
        assert of(AddUserText, call.lives(KEYS_TOGETHER + 0.1))


class TestHangUp:
    def asks(self, call: Call) -> list[Any]:
        return call.model(FunctionCall("call_1", "hang_up", "{}"), ResponseDone("resp_1", "completed"))

    def test_the_last_word_is_heard_before_the_line_closes(self, talking):
        talking.says(2.0)
        talking.model(AudioDone("resp_1", "item_1"))
        self.asks(talking)
        assert talking.ended is None
        talking.now += 2
        talking.returns_marks()
        assert talking.ended.outcome is Outcome.GOODBYE

    def test_a_goodbye_that_comes_in_the_next_response_is_heard(self, talking):
        talking.model(ResponseCreated("resp_1"))
        assert of(CreateResponse, self.asks(talking)) == [CreateResponse()]
        talking.answers(1.0, "item_2", "resp_2")
        assert talking.ended is None
        talking.now += 1
        talking.returns_marks()
        assert talking.ended.outcome is Outcome.GOODBYE

    def test_where_it_says_none_there_either_the_line_closes(self, talking):
        talking.model(ResponseCreated("resp_1"))
        self.asks(talking)
        talking.model(ResponseCreated("resp_2"), ResponseDone("resp_2", "completed"))
        assert talking.ended.outcome is Outcome.GOODBYE

    def test_a_caller_who_goes_on_speaking_before_the_goodbye_keeps_the_agent(self, talking):
        talking.model(ResponseCreated("resp_1"))
        self.asks(talking)
        talking.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c1"))
        talking.answers(1.0, "item_2", "resp_2")
        talking.now += 1
        talking.returns_marks()
        talking.lives(30)
        assert talking.ended is None

    def test_so_does_one_who_speaks_before_the_response_without_a_word_has_ended(self, talking):
        talking.model(ResponseCreated("resp_1"), FunctionCall("call_1", "hang_up", "{}", "resp_1"))
        talking.model(SpeechStarted())
        assert not of(CreateResponse, talking.model(ResponseDone("resp_1", "cancelled")))
        talking.model(SpeechStopped(), SpeechCommitted("c1"))
        talking.answers(1.0, "item_2", "resp_2")
        talking.now += 1
        talking.returns_marks()
        talking.lives(30)
        assert talking.ended is None

    def test_one_in_a_response_that_the_caller_was_not_let_hear_does_not_close_the_line(self, talking):
        talking.twilio(Dtmf("MZ1", "#"))
        talking.model(SpeechStarted(), ResponseCreated("resp_1"))
        (output,) = of(AddFunctionOutput, talking.model(FunctionCall("call_1", "hang_up", "{}", "resp_1")))
        assert "the call goes on" in output.output
        talking.model(ResponseDone("resp_1", "cancelled"), SpeechStopped(), SpeechCommitted("c1"))
        talking.answers(1.0, "item_2", "resp_2")
        assert talking.conversation.phase is Phase.TALKING

    def test_text_that_comes_behind_the_last_word_is_kept_for_the_record(self, talking):
        talking.says(2.0)
        talking.model(AudioDone("resp_1", "item_1"))
        self.asks(talking)
        talking.model(AgentTranscript("item_1", "Goodbye.", complete=True), CallerTranscript("c1", "Bye!"))
        assert [talking.said[item].text for item in ("item_1", "c1")] == ["Goodbye.", "Bye!"]

    def test_the_line_closes_even_when_the_last_mark_is_lost(self, talking):
        talking.says(2.0)
        self.asks(talking)
        assert talking.waits(2.0) == []
        assert talking.waits(PLAYED_DEADLINE + 0.1)[-1].outcome is Outcome.GOODBYE

    def test_a_caller_who_speaks_over_the_goodbye_does_not_cut_it(self, talking):
        talking.says(2.0)
        self.asks(talking)
        assert talking.model(SpeechStarted()) == []

    def test_a_function_that_does_not_exist_is_answered_and_the_call_goes_on(self, talking):
        talking.model(ResponseCreated("resp_1"))
        note, output = talking.model(FunctionCall("call_1", "order_pizza", "{}"))
        assert note.level == logging.WARNING
        assert isinstance(output, AddFunctionOutput)
        assert talking.model(ResponseDone("resp_1", "completed")) == [CreateResponse()]


class TestEnd:
    def test_a_caller_who_hangs_up_ends_the_call(self, talking):
        talking.twilio(Stop("MZ1"))
        assert talking.ended.outcome is Outcome.CALLER_HUNG_UP

    @pytest.mark.parametrize("message", [START, Connected()])
    def test_a_second_start_breaks_the_protocol(self, talking, message):
        with pytest.raises(MediaStreamError, match="a second"):
            talking.twilio(message)

    def test_another_streams_message_breaks_the_protocol(self, talking):
        with pytest.raises(MediaStreamError, match="MZ2"):
            talking.twilio(Media("MZ2", "AAAA"))

    def test_a_call_ends_once_and_then_does_nothing(self, talking):
        talking.twilio(Stop("MZ1"))
        assert talking.conversation.stream_lost("x") == []
        assert talking.conversation.shut_down() == []
        assert talking.twilio(Media("MZ2", "AAAA")) == []
        assert talking.model(ErrorEvent("session_expired", "")) == []
        assert talking.conversation.tick(talking.now + 999) == []
