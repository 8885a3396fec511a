"""Whose turn it is: what the caller and the model do, and what is sent to either because of it."""

import base64
import logging
from typing import Any

import pytest
from callgate.conversation import (
    CALLER_DEADLINE,
    KEPT_FRAMES,
    KEYS_TOGETHER,
    MODEL_DEADLINE,
    OPENING_DEADLINE,
    PLAYED_DEADLINE,
    Agent,
    Conversation,
    End,
    Note,
    Outcome,
    Phase,
)
from callgate.errors import MediaStreamError
from callgate.media_stream import Clear, Connected, Dtmf, Mark, Media, Start, Stop, Unknown
from callgate.realtime import (
    AddFunctionOutput,
    AddUserText,
    AppendAudio,
    AudioDelta,
    AudioDone,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    Other,
    ResponseCreated,
    ResponseDone,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    TruncateItem,
    UpdateSession,
)

START = Start("MZ1", "AC1", "CA1")
PCMU = SessionUpdated("audio/pcmu", "audio/pcmu")


def audio(seconds: float) -> str:
    return base64.b64encode(b"\x7f" * int(seconds * 8000)).decode()


class Call:
    """A conversation, driven: what happens is done at `now`; what it commands is collected."""

    def __init__(self) -> None:
        self.now = 100.0
        self.conversation = Conversation(START, Agent("Be brief.", "marin", "Hello!"), self.now)
        self.commands: list[Any] = []

    def does(self, commands: list[Any]) -> list[Any]:
        self.commands += commands
        return commands

    def twilio(self, message: Any) -> list[Any]:
        return self.does(self.conversation.twilio_sent(message, self.now))

    def model(self, *events: Any) -> list[Any]:
        return self.does([c for event in events for c in self.conversation.model_sent(event, self.now)])

    def open(self) -> list[Any]:
        return self.does(self.conversation.model_connected(self.now)) + self.model(PCMU)

    def says(self, seconds: float, item: str = "item_1", response: str = "resp_1") -> list[Any]:
        return self.model(ResponseCreated(response), AudioDelta(response, item, audio(seconds)))

    def waits(self, seconds: float) -> list[Any]:
        """Time passes while Twilio keeps sending; `tick` is called whenever something is due."""
        end, found = self.now + seconds, []
        while self.now < end:
            self.now = min(end, self.now + 1.0, max(self.now, self.conversation.deadline()))
            found += self.does(self.conversation.tick(self.now))
            if self.conversation.phase is Phase.ENDED:
                break
            self.conversation.twilio_sent(Unknown("alive"), self.now)
        return found

    def returns_marks(self) -> None:
        for command in [c for c in self.commands if isinstance(c, Mark)]:
            self.twilio(command)
        self.commands = [c for c in self.commands if not isinstance(c, Mark)]

    @property
    def ended(self) -> End | None:
        return next((c for c in self.commands if isinstance(c, End)), None)


@pytest.fixture
def call() -> Call:
    return Call()


@pytest.fixture
def talking(call: Call) -> Call:
    """A call whose greeting is over."""
    call.open()
    call.says(1.0, "greeting", "resp_0")
    call.model(AudioDone("resp_0", "greeting"), ResponseDone("resp_0", "completed"))
    call.now += 2
    call.returns_marks()
    call.commands.clear()
    return call


class TestOpening:
    def test_the_session_is_described_first(self, call):
        (update,) = call.conversation.model_connected(call.now)
        assert isinstance(update, UpdateSession)
        assert (update.instructions, update.voice) == ("Be brief.", "marin")

    def test_no_audio_is_sent_before_the_session_is_confirmed(self, call):
        call.does(call.conversation.model_connected(call.now))
        call.twilio(Media("MZ1", "AAAA"))
        assert not [c for c in call.commands if isinstance(c, AppendAudio)]

    def test_the_agent_greets_first_and_then_hears_what_the_caller_said_meanwhile(self, call):
        call.does(call.conversation.model_connected(call.now))
        call.twilio(Media("MZ1", "AAAA"))
        call.twilio(Media("MZ1", "BBBB"))
        greet, *kept = call.model(PCMU)
        assert isinstance(greet, CreateResponse)
        assert "Hello!" in greet.instructions
        assert kept == [AppendAudio("AAAA"), AppendAudio("BBBB")]

    def test_a_model_that_takes_long_to_open_costs_only_the_oldest_audio(self, call):
        call.does(call.conversation.model_connected(call.now))
        for number in range(KEPT_FRAMES + 10):
            call.twilio(Media("MZ1", f"{number:04}"))
        _, *kept = call.model(PCMU)
        assert kept[0] == AppendAudio("0010")
        assert len(kept) == KEPT_FRAMES

    @pytest.mark.parametrize("formats", [("audio/pcm", "audio/pcmu"), ("audio/pcmu", "audio/pcm"), (None, None)])
    def test_a_session_with_other_audio_is_not_used(self, call, formats):
        call.does(call.conversation.model_connected(call.now))
        call.model(SessionUpdated(*formats))
        assert call.ended.outcome is Outcome.FAILED
        assert "audio/pcmu" in call.ended.reason

    def test_a_session_that_is_not_confirmed_in_time_fails(self, call):
        call.does(call.conversation.model_connected(call.now))
        assert not call.waits(OPENING_DEADLINE - 0.1)
        assert call.waits(0.2)[0].outcome is Outcome.FAILED

    def test_any_error_while_opening_fails_the_call(self, call):
        call.does(call.conversation.model_connected(call.now))
        call.model(ErrorEvent("invalid_value", "no such voice"))
        assert "no such voice" in call.ended.reason


class TestTalking:
    def test_the_callers_audio_passes_unchanged(self, talking):
        assert talking.twilio(Media("MZ1", "AAAA")) == [AppendAudio("AAAA")]

    def test_the_agents_audio_passes_unchanged_with_a_mark(self, talking):
        media, mark = talking.model(AudioDelta("resp_1", "item_1", audio(0.5)))
        assert media == Media("MZ1", audio(0.5))
        assert isinstance(mark, Mark)

    def test_small_deltas_share_a_mark(self, talking):
        commands = [c for _ in range(20) for c in talking.model(AudioDelta("resp_1", "item_1", audio(0.02)))]
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

    @pytest.mark.parametrize("code", ["insufficient_quota", "invalid_api_key", "session_expired"])
    def test_errors_that_end_the_session_end_the_call(self, talking, code):
        talking.model(ErrorEvent(code, "no"))
        assert talking.ended.outcome is Outcome.FAILED

    def test_a_failed_response_is_asked_for_once_more(self, talking):
        talking.model(ResponseCreated("resp_1"))
        note, again = talking.model(ResponseDone("resp_1", "failed", None, "server_error", "sorry"))
        assert (note.level, again) == (logging.WARNING, CreateResponse())
        talking.model(ResponseCreated("resp_2"), ResponseDone("resp_2", "failed", None, "server_error", "sorry"))
        assert talking.ended.outcome is Outcome.FAILED

    def test_a_response_that_failed_for_want_of_credit_is_not_asked_for_again(self, talking):
        talking.model(ResponseCreated("resp_1"), ResponseDone("resp_1", "failed", None, "insufficient_quota", "pay"))
        assert "insufficient_quota" in talking.ended.reason

    def test_a_model_that_owes_an_answer_and_is_silent_fails_the_call(self, talking):
        talking.model(SpeechStarted(), SpeechStopped())
        assert not talking.waits(MODEL_DEADLINE - 0.1)
        assert talking.waits(0.2)[-1].outcome is Outcome.FAILED

    def test_a_model_that_stops_in_mid_response_fails_the_call(self, talking):
        talking.says(0.2)
        assert talking.waits(MODEL_DEADLINE + 0.1)[-1].outcome is Outcome.FAILED

    def test_a_silent_caller_is_waited_for(self, talking):
        assert talking.waits(600) == []

    def test_audio_that_is_not_base64_fails_the_call_and_is_not_sent(self, talking):
        talking.model(AudioDelta("resp_1", "item_1", "not base64!"))
        assert [type(c) for c in talking.commands] == [End]

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
        talking.now += 1.0  # the line was slow: only now the first 200 ms have played
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
        text, response = talking.waits(KEYS_TOGETHER)
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
        talking.model(ErrorEvent("conversation_already_has_active_response", ""))
        assert talking.model(ResponseDone("resp_9", "completed")) == [CreateResponse()]

    def test_keys_pressed_while_the_session_opens_are_told_when_it_is_open(self, call):
        call.twilio(Dtmf("MZ1", "4"))
        call.waits(KEYS_TOGETHER * 2)
        call.open()
        assert [c for c in call.waits(KEYS_TOGETHER) if isinstance(c, AddUserText)]


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

    def test_the_line_closes_at_once_where_nothing_is_left_to_hear(self, talking):
        talking.model(ResponseCreated("resp_1"))
        self.asks(talking)
        assert talking.ended.outcome is Outcome.GOODBYE

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
        assert talking.conversation.fail("x") == []
        assert talking.conversation.stream_lost("x") == []
        assert talking.conversation.shut_down() == []
        assert talking.twilio(Media("MZ2", "AAAA")) == []
        assert talking.model(ErrorEvent("session_expired", "")) == []
        assert talking.conversation.tick(talking.now + 999) == []
