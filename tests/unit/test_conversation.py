"""Whose turn it is: what the caller and the model do, and what is sent to either because of it."""

import base64
import logging
from dataclasses import replace
from typing import Any

import pytest
from callgate.agent import Agent
from callgate.commands import AdoptModel, DropModel, End, Note, OpenModel, Outcome, Said
from callgate.conversation import (
    CALLER_DEADLINE,
    COMFORT_AFTER,
    KEPT_FRAMES,
    PAUSE,
    PLAYED_DEADLINE,
    Conversation,
    Phase,
)
from callgate.errors import MediaStreamError
from callgate.keypad import KEYS_TOGETHER
from callgate.limits import QUESTIONS, WARNING, Step
from callgate.media_stream import Clear, Connected, Dtmf, Mark, Media, Start, Stop, Unknown
from callgate.patience import ANSWER_WITHIN, ASK_AFTER, FRAMES_OF_SPEECH, WORDS_WITHIN
from callgate.realtime import (
    AddAgentText,
    AddFunctionOutput,
    AddUserText,
    AgentTranscript,
    AppendAudio,
    AskAlive,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    Other,
    ResponseCreated,
    ResponseDone,
    SessionUpdated,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
    TruncateItem,
)
from callgate.tenure import LOSSES, RETRY_AFTER, ROLLOVER_AFTER, ROLLOVER_AT_LAST
from callgate.transcript import Role, Turn

START = Start("MZ1", "AC1", "CA1")
ALIVE = SessionUpdated("audio/pcmu", "audio/pcmu")
ONE_MOMENT = base64.b64encode(b"\x55" * 8000).decode()  # a second
AGENT = Agent("Be brief.", "marin", "Hello!", one_moment=ONE_MOMENT)
LOUD = base64.b64encode(b"\x10" * 160).decode()
QUIET = base64.b64encode(b"\xfe" * 160).decode()


def audio(seconds: float) -> str:
    return base64.b64encode(b"\x7f" * int(seconds * 8000)).decode()


class Call:
    """A conversation, driven: what happens is done at `now`; what it commands is collected, what it records kept
    apart."""

    def __init__(self, agent: Agent = AGENT, memory: tuple[Turn, ...] | None = None) -> None:
        self.now = 100.0
        self.conversation = Conversation(START, agent, self.now, memory)
        self.commands: list[Any] = []
        self.said: dict[str, Turn] = {}

    def does(self, commands: list[Any]) -> list[Any]:
        self.said |= {c.turn.item_id: c.turn for c in commands if isinstance(c, Said)}
        found = [c for c in commands if not isinstance(c, Said)]
        self.commands += found
        return found

    def twilio(self, message: Any) -> list[Any]:
        return self.does(self.conversation.twilio_sent(message, self.now))

    def model(self, *events: Any) -> list[Any]:
        return self.does([c for event in events for c in self.conversation.model_sent(event, self.now)])

    def loses_model(self, reason: str = "gone") -> list[Any]:
        return self.does(self.conversation.model_lost(reason, self.now))

    def ready(self) -> list[Any]:
        return self.does(self.conversation.model_ready(self.now))

    def unavailable(self, *, fatal: bool = False) -> list[Any]:
        return self.does(self.conversation.model_unavailable("no", self.now, fatal=fatal))

    def open(self) -> list[Any]:
        return self.does(self.conversation.begin()) + self.ready()

    def says(self, seconds: float, item: str = "item_1", response: str = "resp_1") -> list[Any]:
        return self.model(ResponseCreated(response), AudioDelta(response, item, audio(seconds)))

    def hears(self, payload: str, seconds: float) -> list[Any]:
        """The caller is heard for so long, frame by frame."""
        found = []
        for _ in range(round(seconds * 50)):
            found += self.twilio(Media("MZ1", payload))
            found += self.waits(0.02)
        return found

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

    def lives(self, seconds: float) -> list[Any]:
        """As `waits`, with a model that answers whenever it is asked whether it lives."""
        end, found = self.now + seconds, []
        while self.now < end and self.ended is None:
            for command in self.waits(min(0.2, end - self.now)):
                if isinstance(command, AskAlive):
                    self.model(ALIVE)
                else:
                    found.append(command)
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


def greeted(call: Call) -> Call:
    """A call whose greeting is over."""
    call.open()
    call.says(1.0, "greeting", "resp_0")
    call.model(AudioDone("resp_0", "greeting"), ResponseDone("resp_0", "completed"))
    call.now += 2
    call.returns_marks()
    call.commands.clear()
    return call


@pytest.fixture
def talking(call: Call) -> Call:
    return greeted(call)


def of(kind: type, commands: list[Any]) -> list[Any]:
    return [command for command in commands if isinstance(command, kind)]


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
        assert not of(Media, call.waits(COMFORT_AFTER - 0.1))
        assert of(Media, call.waits(0.2)) == [Media("MZ1", ONE_MOMENT)]

    def test_a_session_that_can_not_be_opened_is_tried_again_and_then_the_call_fails(self, call):
        call.does(call.conversation.begin())
        for after in RETRY_AFTER[1:]:
            assert of(OpenModel, call.unavailable()) == [OpenModel(after, ())]
        call.unavailable()
        assert call.ended.outcome is Outcome.FAILED

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

    @pytest.mark.parametrize("code", ["insufficient_quota", "invalid_api_key"])
    def test_errors_that_no_other_try_can_help_end_the_call(self, talking, code):
        talking.model(ErrorEvent(code, "no"))
        assert talking.ended.outcome is Outcome.FAILED

    def test_where_there_is_a_second_model_it_is_turned_to(self):
        call = greeted(Call(replace(AGENT, has_second_model=True)))
        assert of(OpenModel, call.model(ErrorEvent("insufficient_quota", "no")))
        assert call.ended is None

    def test_a_failed_response_is_asked_for_once_more(self, talking):
        talking.model(ResponseCreated("resp_1"))
        note, again = talking.model(ResponseDone("resp_1", "failed", None, "server_error", "sorry"))
        assert (note.level, again) == (logging.WARNING, CreateResponse())
        talking.model(ResponseCreated("resp_2"), ResponseDone("resp_2", "failed", None, "server_error", "sorry"))
        assert talking.ended.outcome is Outcome.FAILED

    def test_a_response_that_failed_for_want_of_credit_is_not_asked_for_again(self, talking):
        talking.model(ResponseCreated("resp_1"), ResponseDone("resp_1", "failed", None, "insufficient_quota", "pay"))
        assert "insufficient_quota" in talking.ended.reason

    def test_a_silent_caller_is_waited_for(self, talking):
        assert talking.waits(600) == []

    def test_audio_that_is_not_base64_is_not_heard_and_the_model_replaced(self, talking):
        commands = talking.model(AudioDelta("resp_1", "item_1", "not base64!"))
        assert not of(Media, commands)
        assert of(OpenModel, commands)

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


class TestLostModel:
    def test_a_model_that_is_lost_in_mid_sentence_is_replaced_and_goes_on(self, talking):
        talking.says(3.0)
        commands = talking.loses_model()
        assert of(DropModel, commands)
        assert of(OpenModel, commands)
        adopt, go_on, *_ = talking.ready()
        assert (adopt, talking.conversation.phase) == (AdoptModel(), Phase.TALKING)
        assert isinstance(go_on, CreateResponse)
        assert "Hello!" not in go_on.instructions
        assert talking.says(1.0, "item_2", "resp_2")[0] == Media("MZ1", audio(1.0))

    def test_the_new_one_is_told_what_was_said_as_far_as_it_was_heard(self, talking):
        talking.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c1"), CallerTranscript("c1", " Hello? "))
        talking.says(4.0)
        talking.model(AgentTranscript("item_1", "one two three four"))
        talking.now += 2.0
        talking.model(SpeechStarted())
        (wanted,) = of(OpenModel, talking.loses_model())
        assert [(turn.role, turn.text) for turn in wanted.history] == [
            (Role.CALLER, "Hello?"),
            (Role.AGENT, "one two"),
        ]

    def test_the_caller_hears_at_once_that_it_goes_on_where_nothing_else_is_to_hear(self, talking):
        talking.model(SpeechStarted(), SpeechStopped())
        talking.now += 0.5
        assert of(Media, talking.loses_model()) == [Media("MZ1", ONE_MOMENT)]

    def test_what_is_queued_is_heard_first(self, talking):
        talking.says(3.0)
        assert not of(Media, talking.loses_model())
        assert not of(Media, talking.waits(2.9))
        assert of(Media, talking.waits(0.2)) == [Media("MZ1", ONE_MOMENT)]

    def test_it_is_known_how_far_that_was_heard(self, talking):
        talking.says(2.0)
        talking.model(FunctionCall("call_1", "hang_up", "{}"))
        talking.now += 2.0
        talking.loses_model()
        talking.waits(1.0)
        talking.returns_marks()
        assert talking.ended.reason == "the agent hung up, and was heard to the end"

    def test_a_caller_who_waits_on_is_told_again(self, talking):
        talking.model(SpeechStarted(), SpeechStopped())
        talking.loses_model()
        assert len(of(Media, talking.waits(2 * (COMFORT_AFTER + 1.0) + 0.1))) == 2

    def test_where_nobody_waits_for_the_agent_nothing_is_said(self, talking):
        commands = talking.loses_model() + talking.waits(1.0) + talking.ready()
        assert not of(Media, commands)
        assert not of(CreateResponse, commands)

    def test_what_the_caller_said_meanwhile_reaches_the_new_one(self, talking):
        talking.loses_model()
        talking.hears(LOUD, 0.4)
        talking.hears(QUIET, 0.2)
        commands = talking.ready()
        assert AppendAudio(LOUD) in commands
        assert not of(CreateResponse, commands)  # it answers by itself what it hears

    def test_words_that_the_lost_one_heard_and_did_not_answer_are_said_again_to_the_new_one(self, talking):
        talking.hears(LOUD, 0.3)
        talking.model(SpeechStarted())
        talking.hears(LOUD, 0.3)
        talking.hears(QUIET, 0.5)
        talking.model(SpeechStopped())
        talking.loses_model()
        assert len([c for c in talking.ready() if c == AppendAudio(LOUD)]) == 30
        assert talking.model(SpeechStarted()) == []  # nobody spoke over anything now
        assert talking.hears(QUIET, 0.02) == [AppendAudio(QUIET)]

    def test_words_that_were_answered_are_not_said_again(self, talking):
        talking.hears(LOUD, 0.6)
        talking.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c1"), ResponseCreated("resp_1"))
        talking.loses_model()
        assert AppendAudio(LOUD) not in talking.ready()

    def test_words_that_came_before_the_greeting_are_not_answered_by_it(self, call):
        call.does(call.conversation.begin())
        call.hears(LOUD, 0.6)
        call.ready()
        call.model(ResponseCreated("greeting"))
        call.loses_model()
        assert AppendAudio(LOUD) in call.ready()

    def test_a_session_that_expired_is_replaced(self, talking):
        assert of(OpenModel, talking.model(ErrorEvent("session_expired", "60 minutes")))

    def test_after_so_many_losses_the_call_fails(self, talking):
        for _ in range(LOSSES - 1):
            talking.loses_model()
            talking.ready()
            talking.says(0.1)
        talking.loses_model()
        assert talking.ended.outcome is Outcome.FAILED

    def test_losses_that_lie_far_apart_do_not_add_up(self, talking):
        for _ in range(2 * LOSSES):
            talking.loses_model()
            talking.ready()
            talking.waits(30)
        assert talking.ended is None

    def test_a_goodbye_needs_no_model(self, talking):
        talking.says(2.0)
        talking.model(FunctionCall("call_1", "hang_up", "{}"))
        commands = talking.loses_model()
        assert not of(OpenModel, commands)
        talking.now += 2
        talking.returns_marks()
        assert talking.ended.outcome is Outcome.GOODBYE

    def test_keys_pressed_while_it_is_replaced_are_told_to_the_new_one(self, talking):
        talking.loses_model()
        talking.twilio(Dtmf("MZ1", "4"))
        talking.waits(KEYS_TOGETHER)
        talking.ready()
        assert of(AddUserText, talking.waits(KEYS_TOGETHER + 0.1))

    def test_a_truncation_of_what_a_lost_one_said_is_not_sent_to_the_new_one(self, talking):
        talking.says(5.0)
        talking.loses_model()
        talking.ready()
        assert not of(TruncateItem, talking.model(SpeechStarted()))


class TestPatience:
    def test_a_model_that_owes_an_answer_and_is_silent_is_asked_whether_it_lives(self, talking):
        talking.model(SpeechStarted(), SpeechStopped())
        assert talking.waits(ASK_AFTER - 0.1) == []
        assert of(AskAlive, talking.waits(0.2))

    def test_one_that_does_not_answer_is_replaced(self, talking):
        talking.model(SpeechStarted(), SpeechStopped())
        assert of(OpenModel, talking.waits(ASK_AFTER + ANSWER_WITHIN + 0.1))
        assert talking.ended is None

    def test_the_next_one_is_not_blamed_for_it(self, talking):
        talking.model(SpeechStarted(), SpeechStopped())
        talking.waits(ASK_AFTER + ANSWER_WITHIN + 0.1)
        talking.ready()
        assert not of(OpenModel, talking.lives(2.0))

    def test_one_that_lives_is_given_time(self, talking):
        talking.model(SpeechStarted(), SpeechStopped())
        assert not of(OpenModel, talking.lives(WORDS_WITHIN - 0.5))

    def test_but_not_for_ever(self, talking):
        talking.model(SpeechStarted(), SpeechStopped())
        assert of(OpenModel, talking.lives(WORDS_WITHIN + 0.5))

    def test_while_it_thinks_the_caller_is_told_that_it_goes_on(self, talking):
        talking.model(SpeechStarted(), SpeechStopped())
        assert of(Media, talking.lives(COMFORT_AFTER + 0.3))

    def test_one_that_stops_in_mid_response_is_replaced(self, talking):
        talking.says(0.2)
        assert of(OpenModel, talking.waits(ASK_AFTER + ANSWER_WITHIN + 0.1))

    def test_one_that_does_not_hear_the_caller_is_replaced_and_hears_it_again(self, talking):
        talking.hears(LOUD, 0.6)
        commands = talking.hears(QUIET, ASK_AFTER + ANSWER_WITHIN + 0.3)
        assert of(OpenModel, commands)
        assert of(Media, commands) == [Media("MZ1", ONE_MOMENT)]
        assert AppendAudio(LOUD) in talking.ready()

    def test_noise_that_a_living_model_does_not_take_for_speech_is_none(self, talking):
        talking.hears(LOUD, 0.6)
        assert not of(OpenModel, talking.lives(10))
        assert not of(Media, talking.commands)

    def test_one_that_heard_speech_begin_but_never_end_is_asked(self, talking):
        talking.hears(LOUD, 0.3)
        talking.model(SpeechStarted())
        assert of(AskAlive, talking.hears(QUIET, ASK_AFTER + 0.3))

    def test_while_the_caller_speaks_nobody_asks(self, talking):
        talking.model(SpeechStarted())
        assert not of(AskAlive, talking.hears(LOUD, 5.0))

    def test_a_knock_is_not_speech(self, talking):
        talking.hears(LOUD, (FRAMES_OF_SPEECH - 2) / 50)
        assert not of(AskAlive, talking.hears(QUIET, 3.0))


class TestRollover:
    @pytest.fixture
    def old(self, talking):
        """A call whose model's hour is coming to its end."""
        talking.conversation._tenure._since -= ROLLOVER_AFTER
        return talking

    def test_in_a_pause_another_session_takes_over_without_a_word(self, old):
        assert of(OpenModel, old.waits(PAUSE + 0.5))
        commands = old.ready()
        assert of(AdoptModel, commands)
        assert not of(CreateResponse, commands)
        assert not of(Media, commands)
        assert old.hears(QUIET, 0.02) == [AppendAudio(QUIET)]
        assert not of(OpenModel, old.waits(60))

    def test_not_while_the_agent_speaks(self, old):
        old.says(5.0)
        assert not of(OpenModel, old.lives(3.0))

    def test_not_while_the_caller_speaks(self, old):
        old.model(SpeechStarted())
        assert not of(OpenModel, old.hears(LOUD, 3.0))

    def test_what_is_said_between_opening_and_taking_over_is_told_too(self, old):
        old.waits(PAUSE + 0.5)
        old.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c1"), CallerTranscript("c1", "Wait!"))
        assert not of(AdoptModel, old.ready())
        old.says(0.5)
        old.model(AgentTranscript("item_1", "Sure.", complete=True), AudioDone("resp_1", "item_1"))
        old.model(ResponseDone("resp_1", "completed"))
        commands = old.waits(2.0)
        assert of(AdoptModel, commands)
        assert of(AddUserText, commands) == [AddUserText("Wait!")]
        assert of(AddAgentText, commands) == [AddAgentText("Sure.")]

    def test_one_that_can_not_be_opened_is_tried_again_in_a_later_pause(self, old):
        old.waits(PAUSE + 0.5)
        old.unavailable()
        assert old.ended is None
        assert of(OpenModel, old.waits(30))

    def test_without_a_pause_it_comes_to_a_loss_in_time(self, talking):
        talking.conversation._tenure._since -= ROLLOVER_AT_LAST
        talking.says(5.0)
        assert of(OpenModel, talking.waits(0.5))


class TestLimits:
    def test_a_silent_caller_is_asked_twice_and_then_told_goodbye(self):
        call = greeted(Call(replace(AGENT, idle=20.0)))
        for number in range(QUESTIONS + 1):
            told = call.waits(20.5)
            step = Step.ASK if number < QUESTIONS else Step.GIVE_UP
            assert of(AddUserText, told) == [AddUserText(step.value)]
            assert of(CreateResponse, told)
            response = f"resp_{number + 1}"
            call.says(1.0, f"item_{number + 1}", response)
            call.model(ResponseDone(response, "completed"))
            call.now += 1
            call.returns_marks()
        call.waits(PLAYED_DEADLINE + 1)
        assert call.ended.outcome is Outcome.GOODBYE

    def test_a_caller_who_speaks_is_not_asked(self):
        call = greeted(Call(replace(AGENT, idle=20.0)))
        call.waits(15)
        call.hears(LOUD, 0.1)
        assert not of(AddUserText, call.waits(15))

    def test_the_longest_call_ends_with_a_warning_and_a_goodbye(self):
        call = greeted(Call(replace(AGENT, longest=300.0)))
        assert of(AddUserText, call.waits(300 - WARNING)) == [AddUserText(Step.WARN.value)]
        told = call.waits(WARNING + 1)
        assert of(AddUserText, told) == [AddUserText(Step.TIME_UP.value)]
        call.says(1.0)
        call.model(ResponseDone("resp_1", "completed"))
        call.now += 1
        call.returns_marks()
        call.waits(PLAYED_DEADLINE + 1)
        assert call.ended.outcome is Outcome.GOODBYE

    def test_a_model_that_says_no_goodbye_does_not_keep_the_line_open(self):
        call = greeted(Call(replace(AGENT, longest=300.0)))
        call.lives(400)
        assert call.ended is not None


class TestMemory:
    MEMORY = (Turn("c1", Role.CALLER, "My name is Ada."), Turn("a1", Role.AGENT, "Nice to meet you."))

    def test_a_call_that_is_taken_up_again_is_not_greeted_but_told_that_it_was_cut_off(self):
        call = Call(memory=self.MEMORY)
        assert call.does(call.conversation.begin()) == [OpenModel(0.0, self.MEMORY)]
        _, back = call.ready()
        assert "Hello!" not in back.instructions
        assert "cut off" in back.instructions


class TestRecord:
    def test_what_either_said_is_recorded_as_it_happens(self, talking):
        talking.model(SpeechCommitted("c1"), CallerTranscript("c1", "Hello?"))
        talking.says(1.0)
        talking.model(AgentTranscript("item_1", "Good "), AgentTranscript("item_1", "Good day.", complete=True))
        assert talking.said["c1"] == Turn("c1", Role.CALLER, "Hello?")
        assert talking.said["item_1"].text == "Good day."

    def test_where_the_caller_cut_in_is_recorded(self, talking):
        talking.says(4.0)
        talking.model(AgentTranscript("item_1", "one two three four", complete=True))
        talking.now += 1.5
        talking.model(SpeechStarted())
        turn = talking.said["item_1"]
        assert (turn.audio_ms, turn.heard_ms, turn.heard_text) == (4000, 1500, "one")

    def test_while_the_agent_speaks_it_is_recorded_how_far_it_was_heard(self, talking):
        for _ in range(10):
            talking.says(0.4)
        marks = of(Mark, talking.commands)
        for mark in marks[:5]:
            talking.now += 0.4
            talking.twilio(mark)
        assert 1000 <= talking.said["item_1"].heard_ms <= 2000
        talking.model(AudioDone("resp_1", "item_1"))
        talking.now += 3.0
        talking.returns_marks()
        assert talking.said["item_1"].heard_ms is None
