"""Tools that are called by the model, or by a key on the caller's telephone."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from callgate.core.absences import Absences
from callgate.core.protocols.realtime import (
    AddFunctionOutput,
    AddUserText,
    AgentTranscript,
    AudioDone,
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
from callgate.core.tools.toolbox import Message
from callgate.core.turns.answering import REFUSED_WITHIN
from callgate.core.turns.comfort import THINKING
from callgate.core.turns.commands import CallTool, End, Note, OpenModel, Outcome, PutThrough, SendDigits, TakeMessage
from callgate.core.turns.ending import PLAYED_DEADLINE
from callgate.core.turns.floor import SOON
from callgate.core.turns.serving import Phase
from callgate.core.turns.tool_desk import MOST_AT_ONCE, MOST_SENDINGS, MOST_TRANSFERS
from callgate.core.turns.transcript import Role, Turn
from callgate.core.wire.media_stream import Clear, Dtmf, Media
from support.conversation_driver import (
    AGENT,
    DESK,
    EQUIPPED,
    LOUD,
    ONE_MOMENT,
    ORDER,
    WEATHER,
    Call,
    greeted,
    of,
)


@pytest.fixture
def talking() -> Call:
    return greeted(Call(EQUIPPED))


def asks(call: Call, name: str, /, call_id: str = "call_1", response: str = "resp_1", **arguments: Any) -> list[Any]:
    """Let the model call a tool in a response of its own that says nothing."""
    call.model(ResponseCreated(response))
    return call.model(FunctionCall(call_id, name, json.dumps(arguments)), ResponseDone(response, "completed"))


def gives(call: Call, output: str = '{"sunny":true}', call_id: str = "call_1") -> list[Any]:
    return call.does(call.conversation.tool_done(call_id, output, call.now))


def told(commands: list[Any]) -> Any:
    """Return the tool result that the model is told."""
    (output,) = of(AddFunctionOutput, commands)
    return json.loads(output.output)


class TestOwnServer:
    def test_the_owners_server_is_asked_and_the_model_told_what_it_gave_and_asked_to_go_on(self, talking):
        assert asks(talking, "get_weather", city="Bonn") == [CallTool("call_1", WEATHER, {"city": "Bonn"})]
        assert gives(talking) == [AddFunctionOutput("call_1", '{"sunny":true}'), CreateResponse()]

    def test_what_a_tool_gave_is_in_the_transcript(self, talking):
        asks(talking, "get_weather")
        gives(talking)
        assert [turn.text for turn in talking.said.values() if turn.role is Role.NOTE] == [
            '[The tool get_weather gave: {"sunny":true}]'
        ]

    def test_the_model_is_asked_to_go_on_when_all_that_it_asked_for_is_there(self, talking):
        talking.model(ResponseCreated("resp_1"))
        talking.model(FunctionCall("call_1", "get_weather", "{}"), FunctionCall("call_2", "order", "{}"))
        talking.model(ResponseDone("resp_1", "completed"))
        assert not of(CreateResponse, gives(talking, call_id="call_2"))
        assert of(CreateResponse, gives(talking, call_id="call_1")) == [CreateResponse()]

    def test_a_tool_that_is_quicker_than_the_response_does_not_begin_a_second_one(self, talking):
        talking.model(ResponseCreated("resp_1"), FunctionCall("call_1", "get_weather", "{}"))
        assert not of(CreateResponse, gives(talking))
        assert of(CreateResponse, talking.model(ResponseDone("resp_1", "completed"))) == [CreateResponse()]

    def test_a_caller_who_speaks_is_not_spoken_over_and_the_models_own_answer_is_the_answer(self, talking):
        asks(talking, "get_weather")
        talking.model(SpeechStarted())
        assert not of(CreateResponse, gives(talking))
        answered = talking.model(SpeechStopped(), ResponseCreated("resp_2"), ResponseDone("resp_2", "completed"))
        assert not of(CreateResponse, answered)

    def test_an_answer_that_is_on_its_way_is_waited_for(self, talking):
        asks(talking, "get_weather")
        talking.model(SpeechStarted(), SpeechStopped())
        assert not of(CreateResponse, gives(talking))
        assert of(CreateResponse, talking.answers(0.1, "item_2", "resp_2")) == [CreateResponse()]

    def test_a_response_that_the_caller_cut_off_leaves_the_word_to_the_caller(self, talking):
        talking.model(ResponseCreated("resp_1"), FunctionCall("call_1", "get_weather", "{}"))
        gives(talking)
        talking.model(SpeechStarted())
        assert not of(CreateResponse, talking.model(ResponseDone("resp_1", "cancelled")))

    def test_a_caller_who_waits_for_a_tool_hears_that_it_goes_on_now_and_again(self, talking):
        asks(talking, "get_weather")
        assert not of(Media, talking.lives(THINKING - 0.1))
        assert of(Media, talking.lives(0.2)) == [Media("MZ1", ONE_MOMENT)]
        assert of(Media, talking.lives(1.0 + THINKING)) == [Media("MZ1", ONE_MOMENT)]
        gives(talking)
        talking.says(1.0, response="resp_2")
        talking.model(AudioDone("resp_2", "item_1"), ResponseDone("resp_2", "completed"))
        assert not of(Media, talking.lives(10))

    def test_a_model_that_waits_for_a_tool_is_not_taken_for_one_that_has_hung(self, talking):
        asks(talking, "get_weather")
        assert not of(OpenModel, talking.waits(60))

    def test_more_tools_than_may_be_open_are_refused_and_the_model_told(self, talking):
        talking.model(ResponseCreated("resp_1"))
        for number in range(MOST_AT_ONCE):
            talking.model(FunctionCall(f"call_{number}", "order", "{}"))
        assert "at work already" in told(talking.model(FunctionCall("one_more", "order", "{}")))["error"]

    def test_a_tool_that_is_done_before_the_model_has_asked_for_the_next_waits_for_that(self, talking):
        talking.model(ResponseCreated("resp_1"), FunctionCall("call_1", "get_weather", "{}"))
        gives(talking)
        talking.model(FunctionCall("call_2", "order", "{}"))
        assert not of(CreateResponse, talking.model(ResponseDone("resp_1", "completed")))
        assert of(CreateResponse, gives(talking, call_id="call_2")) == [CreateResponse()]

    def test_a_response_that_failed_is_asked_for_again_when_the_tools_are_done(self, talking):
        talking.model(ResponseCreated("resp_1"), FunctionCall("call_1", "get_weather", "{}"))
        failed = ResponseDone("resp_1", "failed", None, "server_error", "sorry")
        assert not of(CreateResponse, talking.model(failed))
        gives(talking)
        assert of(CreateResponse, talking.lives(0.2)) == [CreateResponse()]

    def test_who_waits_long_hears_ever_more_rarely_that_it_goes_on_but_does_hear_it(self, talking):
        asks(talking, "get_weather")
        assert len(of(Media, talking.lives(32))) == 4
        assert len(of(Media, talking.lives(17))) == 1
        gives(talking)
        talking.says(1.0, response="resp_2")
        talking.model(AudioDone("resp_2", "item_1"), ResponseDone("resp_2", "completed"))
        talking.now += 2
        talking.returns_marks()
        asks(talking, "get_weather", call_id="call_2", response="resp_3")
        assert len(of(Media, talking.lives(2 * (THINKING + 1.0) + 0.1))) == 2

    def test_nothing_is_carried_out_after_the_last_word(self, talking):
        talking.says(2.0)
        talking.model(FunctionCall("call_1", "hang_up", "{}"), ResponseDone("resp_1", "completed"))
        assert talking.conversation.phase is Phase.LEAVING
        assert talking.model(FunctionCall("call_2", "order", "{}")) == []

    def test_what_comes_twice_or_was_never_asked_for_changes_nothing(self, talking):
        asks(talking, "get_weather")
        gives(talking)
        assert gives(talking) == []
        assert gives(talking, call_id="another") == []

    @pytest.mark.parametrize("arguments", ["", "{}"])
    def test_no_arguments_are_none(self, talking, arguments):
        talking.model(ResponseCreated("resp_1"))
        assert talking.model(FunctionCall("call_1", "order", arguments)) == [CallTool("call_1", ORDER, {})]

    @pytest.mark.parametrize("arguments", ["[]", "7", "{", '"text"', "[" * 9_000, '{"a":"' + "b" * 20_000 + '"}'])
    def test_arguments_that_are_no_object_are_told_to_the_model_and_the_call_goes_on(self, talking, arguments):
        talking.model(ResponseCreated("resp_1"))
        commands = talking.model(FunctionCall("call_1", "order", arguments))
        assert "arguments" in told(commands)["error"]
        assert of(Note, commands)[0].level == logging.WARNING
        assert talking.model(ResponseDone("resp_1", "completed")) == [CreateResponse()]

    def test_a_tool_that_this_agent_does_not_have_is_not_run(self):
        call = greeted(Call(AGENT))
        assert told(asks(call, "transfer_call", to="Front desk")) == {"error": "there is no such tool"}


class TestAnotherSession:
    def lost(self, call: Call) -> None:
        """Lose the model while a tool is running."""
        asks(call, "get_weather")
        call.loses_model()

    def test_what_a_tool_gave_after_its_session_was_replaced_is_told_as_text(self, talking):
        self.lost(talking)
        talking.ready()
        assert gives(talking) == [AddUserText('[The tool get_weather gave: {"sunny":true}]'), CreateResponse()]

    def test_what_it_gave_while_there_was_no_session_is_told_to_the_next(self, talking):
        self.lost(talking)
        assert not of(AddFunctionOutput, gives(talking))
        assert AddUserText('[The tool get_weather gave: {"sunny":true}]') in talking.ready()

    def test_the_caller_is_not_left_in_silence_meanwhile(self, talking):
        self.lost(talking)
        talking.ready()
        assert of(Media, talking.lives(2 + THINKING))

    def test_the_next_is_asked_to_answer_what_came_while_there_was_none(self, talking):
        self.lost(talking)
        gives(talking)
        assert of(CreateResponse, talking.ready()) != []

    def test_but_not_where_the_caller_said_something_that_it_answers_by_itself(self, talking):
        self.lost(talking)
        gives(talking)
        talking.hears(LOUD, 0.4)
        assert not of(CreateResponse, talking.ready())
        talking.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c1"))
        assert not of(CreateResponse, talking.model(ResponseCreated("resp_2"), ResponseDone("resp_2", "completed")))


class TestOneResponseAtATime:
    """A requested response is waited for from the moment of the request."""

    def presses(self, call: Call) -> list[Any]:
        return call.twilio(Dtmf("MZ1", "#"))

    def test_a_second_is_not_asked_for_before_the_first_has_begun_but_when_it_is_done(self, talking):
        assert of(CreateResponse, self.presses(talking)) == [CreateResponse()]
        assert not of(CreateResponse, self.presses(talking))
        assert of(CreateResponse, talking.answers()) == [CreateResponse()]

    def test_after_an_error_that_may_have_been_about_it_it_is_asked_for_again(self, talking):
        self.presses(talking)
        talking.model(ErrorEvent("server_error", "sorry"))
        assert of(CreateResponse, talking.lives(REFUSED_WITHIN + 0.3)) == [CreateResponse()]

    def test_one_that_is_known_to_be_refused_is_asked_for_again_soon(self, talking):
        (asked,) = of(CreateResponse, self.presses(talking))
        talking.model(ErrorEvent("server_error", "sorry", event_id=asked.event_id))
        assert of(CreateResponse, talking.lives(0.3)) == [CreateResponse()]

    def test_another_model_is_asked_for_it_anew(self, talking):
        self.presses(talking)
        talking.loses_model()
        assert len(of(CreateResponse, talking.ready())) == 1

    def test_a_greeting_that_is_on_its_way_is_not_asked_for_twice(self, call):
        call.does(call.conversation.begin())
        call.hears(LOUD, 0.4)
        assert len(of(CreateResponse, call.ready())) == 1
        assert not of(CreateResponse, call.lives(2.0))
        call.says(1.0, "greeting", "resp_0")
        assert not of(CreateResponse, call.model(ResponseDone("resp_0", "completed")))

    def test_one_that_begins_after_the_caller_began_to_speak_is_not_heard_nor_held_for_said(self, talking):
        self.presses(talking)
        talking.model(SpeechStarted())
        assert not of(Media, talking.says(1.0, "item_1", "resp_1"))
        commands = talking.model(AgentTranscript("item_1", "You pressed"), AudioDone("resp_1", "item_1"))
        assert commands == [TruncateItem("item_1", 0)]
        assert (talking.said["item_1"].heard_ms, talking.said["item_1"].cut) == (0, True)

    def test_the_answer_to_what_the_caller_said_meanwhile_is_heard(self, talking):
        self.presses(talking)
        talking.model(SpeechStarted())
        talking.model(ResponseCreated("resp_1"), ResponseDone("resp_1", "completed"))
        talking.model(SpeechStopped(), SpeechCommitted("c1"))
        assert of(Media, talking.says(1.0, "item_2", "resp_2"))

    def test_one_that_begins_after_they_have_spoken_is_their_answer(self, talking):
        self.presses(talking)
        talking.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c1"))
        assert of(Media, talking.says(1.0))

    def test_where_it_kept_the_model_from_answering_the_caller_the_model_is_asked_to(self, talking):
        self.presses(talking)
        talking.model(SpeechStarted(), ResponseCreated("resp_1"), SpeechStopped(), SpeechCommitted("c1"))
        talking.model(ResponseDone("resp_1", "completed"))
        assert of(CreateResponse, talking.lives(SOON + 0.2)) == [CreateResponse()]

    def test_where_the_caller_cut_it_off_the_models_own_answer_is_waited_for(self, talking):
        talking.says(1.0)
        talking.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c1"))
        assert talking.model(ResponseDone("resp_1", "cancelled")) == []
        assert of(Media, talking.lives(THINKING + 0.5))  # a caller who waits for it hears a notice

    def test_keys_that_are_pressed_while_the_caller_speaks_are_answered_with_what_they_say(self, talking):
        talking.model(SpeechStarted())
        assert not of(CreateResponse, self.presses(talking))


class TestTransfer:
    def test_the_announcement_is_heard_to_its_end_and_then_the_call_is_put_through(self, talking):
        talking.says(2.0)
        talking.model(AudioDone("resp_1", "item_1"))
        commands = talking.model(FunctionCall("call_1", "transfer_call", '{"to":"front desk"}'))
        assert told(commands) == {"ok": True}
        talking.model(ResponseDone("resp_1", "completed"))
        assert talking.ended is None
        talking.now += 2
        talking.returns_marks()
        assert talking.ended == End(
            Outcome.TRANSFERRED,
            "the agent puts the caller through to 'Front desk', and was heard to the end",
            PutThrough(DESK, announced=True),
        )

    def test_one_that_the_model_did_not_announce_is_known_as_that(self, talking):
        asks(talking, "transfer_call", to="Front desk")
        assert talking.ended.then == PutThrough(DESK, announced=False)

    def test_a_caller_who_speaks_over_the_announcement_does_not_cut_it(self, talking):
        talking.says(2.0)
        talking.model(FunctionCall("call_1", "transfer_call", '{"to":"Front desk"}'))
        assert talking.model(SpeechStarted()) == []

    def test_somebody_who_is_not_listed_is_never_rung(self, talking):
        error = told(asks(talking, "transfer_call", to="+15559990000"))["error"]
        assert "Front desk" in error
        assert talking.ended is None

    def test_after_three_that_nobody_answered_there_is_no_further(self):
        call = greeted(Call(EQUIPPED, absences=Absences(transfers=MOST_TRANSFERS)))
        assert "nobody answered" in told(asks(call, "transfer_call", to="Front desk"))["error"]
        assert call.ended is None

    def test_the_first_way_to_leave_counts(self, talking):
        talking.says(1.0)
        talking.model(FunctionCall("call_1", "transfer_call", '{"to":"Front desk"}'))
        assert "being left already" in told(talking.model(FunctionCall("call_2", "hang_up", "{}")))["error"]

    def test_a_tool_that_is_open_is_waited_for_before_the_agent_leaves_but_not_for_long(self, talking):
        talking.says(0.1)
        talking.model(FunctionCall("call_1", "order", "{}"), FunctionCall("call_2", "hang_up", "{}"))
        talking.model(ResponseDone("resp_1", "completed"))
        talking.now += 0.1
        talking.returns_marks()
        assert talking.ended is None
        gives(talking)
        assert talking.ended.outcome is Outcome.GOODBYE

    def test_one_that_takes_longer_does_not_keep_the_line_open(self, talking):
        talking.says(0.1)
        talking.model(FunctionCall("call_1", "order", "{}"), FunctionCall("call_2", "hang_up", "{}"))
        talking.model(ResponseDone("resp_1", "completed"))
        talking.waits(0.1 + PLAYED_DEADLINE + 0.1)
        assert talking.ended.outcome is Outcome.GOODBYE

    def test_a_model_that_is_lost_after_it_asked_does_not_keep_the_caller(self, talking):
        talking.model(ResponseCreated("resp_1"), FunctionCall("call_1", "transfer_call", '{"to":"Front desk"}'))
        talking.loses_model()
        assert talking.ended.outcome is Outcome.TRANSFERRED

    def test_back_in_the_call_the_agent_is_asked_to_go_on_from_the_note_and_says_nothing_of_a_cut(self):
        note = Turn("back_1", Role.NOTE, "[nobody answered]")
        call = Call(EQUIPPED, (note,), absences=Absences(transfers=1, back=True))
        (respond,) = of(CreateResponse, call.open())
        assert "back on the line" in respond.instructions
        assert "cut off" not in respond.instructions


class TestDigits:
    def test_keys_are_sent_and_not_shown(self, talking):
        asks(talking, "send_digits", digits="12w#W*")
        assert (talking.ended.outcome, talking.ended.then) == (Outcome.SENDING_DIGITS, SendDigits("12w#W*"))
        assert "12w#" not in repr(talking.ended)

    @pytest.mark.parametrize("digits", ["", "12a", "1 2", "1" * 33, 12, None])
    def test_what_is_no_key_is_not_sent(self, talking, digits):
        assert "digits" in told(asks(talking, "send_digits", digits=digits))["error"]
        assert talking.ended is None

    def test_they_are_not_sent_for_ever(self):
        call = greeted(Call(EQUIPPED, absences=Absences(sendings=MOST_SENDINGS)))
        assert "error" in told(asks(call, "send_digits", digits="1"))


class TestMessage:
    def test_a_message_is_to_be_kept_and_the_model_told_when_it_is(self, talking):
        message = Message("Call me back.", "Ada", "+15551230001")
        taken = asks(talking, "take_message", text=" Call me back. ", name="Ada", callback="+15551230001")
        assert taken == [TakeMessage("call_1", message)]
        assert told(gives(talking, '{"ok":true}')) == {"ok": True}
        assert "Call me" not in repr(taken)

    @pytest.mark.parametrize(
        "arguments", [{}, {"text": " "}, {"text": ["a"]}, {"text": "a" * 2001}, {"text": "a", "name": 1}]
    )
    def test_what_is_no_message_is_told_to_the_model(self, talking, arguments):
        commands = asks(talking, "take_message", **arguments)
        assert "error" in told(commands)
        assert not of(TakeMessage, commands)


class TestBoundKeys:
    def presses(self, call: Call, keys: str) -> list[Any]:
        return [command for key in keys for command in call.twilio(Dtmf("MZ1", key))]

    def test_a_bound_key_puts_the_caller_through_in_mid_sentence(self, talking):
        talking.says(5.0)
        commands = self.presses(talking, "0")
        assert of(Clear, commands)
        assert talking.ended.then == PutThrough(DESK, announced=False)

    def test_it_does_so_where_no_model_is_to_be_had(self, call):
        call = Call(EQUIPPED)
        call.does(call.conversation.begin())
        self.presses(call, "0")
        assert call.ended.outcome is Outcome.TRANSFERRED

    def test_what_the_tool_of_a_key_gave_is_told_as_text_as_no_model_asked_for_it(self, talking):
        assert self.presses(talking, "5") == [CallTool("key_1", WEATHER, {"city": "Bonn"})]
        text = '[The caller pressed 5, and the tool get_weather gave: {"sunny":true}]'
        assert gives(talking, call_id="key_1") == [AddUserText(text), CreateResponse()]

    def test_a_key_may_end_the_call(self, talking):
        self.presses(talking, "9")
        assert talking.ended.outcome is Outcome.GOODBYE

    def test_a_bound_key_within_an_entry_is_part_of_the_entry(self, talking):
        commands = self.presses(talking, "1059#")
        assert [text.text for text in of(AddUserText, commands)] == [
            "[The caller pressed these keys on the telephone: 1059#]"
        ]
        assert talking.ended is None

    def test_a_key_whose_tool_can_not_do_it_is_told_to_the_model_with_the_reason_and_answered(self, talking):
        note, text, respond = self.presses(talking, "7")
        assert note.level == logging.WARNING
        assert text.text.startswith("[The caller pressed 7 on the telephone")
        assert "there is nobody of that name" in text.text
        assert respond == CreateResponse()
        assert talking.ended is None

    def test_after_three_transfers_that_nobody_answered_the_model_says_so(self):
        call = greeted(Call(EQUIPPED, absences=Absences(transfers=MOST_TRANSFERS)))
        _, text, respond = self.presses(call, "0")
        assert "nobody answered 3 times" in text.text
        assert respond == CreateResponse()

    def test_a_refusal_while_the_caller_speaks_is_answered_with_what_they_say(self, talking):
        talking.model(SpeechStarted())
        assert not of(CreateResponse, self.presses(talking, "7"))
        assert not of(CreateResponse, talking.model(SpeechStopped(), SpeechCommitted("c1")))
        assert not of(CreateResponse, talking.model(ResponseCreated("resp_1"), ResponseDone("resp_1", "completed")))

    def test_one_more_tool_than_may_be_open_is_told_and_answered_when_they_are_done(self, talking):
        self.presses(talking, "5" * MOST_AT_ONCE)
        assert "at work already" in of(AddUserText, self.presses(talking, "5"))[0].text
        given = [gives(talking, call_id=f"key_{number}") for number in range(1, MOST_AT_ONCE + 1)]
        assert [of(CreateResponse, commands) for commands in given] == [[]] * (MOST_AT_ONCE - 1) + [[CreateResponse()]]

    @pytest.mark.parametrize("key", ["5", "7"])
    def test_what_a_key_led_to_before_the_greeting_is_said_after_it(self, call, key):
        call = Call(EQUIPPED)
        call.does(call.conversation.begin())
        self.presses(call, key)
        gives(call, call_id="key_1")
        commands = call.ready()
        assert any(text.text.startswith(f"[The caller pressed {key}") for text in of(AddUserText, commands))
        assert ["Hello!" in greet.instructions for greet in of(CreateResponse, commands)] == [True]
        call.says(1.0, "greeting", "resp_0")
        assert call.model(ResponseDone("resp_0", "completed")) == [CreateResponse()]

    def test_nothing_is_asked_for_twice_while_the_agent_leaves(self, talking):
        talking.says(1.0)
        talking.model(FunctionCall("call_1", "hang_up", "{}"))
        self.presses(talking, "0")
        assert talking.ended is None
        talking.model(ResponseDone("resp_1", "completed"))
        assert talking.conversation.phase is Phase.LEAVING
