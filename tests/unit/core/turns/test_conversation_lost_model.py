"""A model that is lost, hangs or grows old: what the caller hears, and what the next one is told."""

import base64

import pytest
from callgate.core.protocols.realtime import (
    AddAgentText,
    AddUserText,
    AgentTranscript,
    AppendAudio,
    AskAlive,
    AudioDone,
    CallerTranscript,
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
from callgate.core.turns.briefing import COME_BACK, GO_ON
from callgate.core.turns.caller_audio import FRAMES_OF_SPEECH, LEAD_IN_FRAMES
from callgate.core.turns.comfort import NO_MODEL, PAUSE, THINKING
from callgate.core.turns.commands import AdoptModel, DropModel, OpenModel, Outcome, PrimeModel
from callgate.core.turns.keypad import KEYS_TOGETHER
from callgate.core.turns.liveness import (
    ANSWER_WITHIN,
    ASK_ABOUT_SPEECH_AFTER,
    ASK_AFTER,
    ASK_IN_NOISE_AFTER,
    WORDS_WITHIN,
)
from callgate.core.turns.recovery import MOST_STRIKES
from callgate.core.turns.serving import Phase
from callgate.core.turns.transcript import Role
from callgate.core.wire.media_stream import Clear, Dtmf, Media, Stop
from support.conversation_driver import LOUD, ONE_MOMENT, QUIET, Call, audio, greeted, of


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
        assert len(of(Media, talking.waits(1.0 + 2 * (NO_MODEL + 1.0) - 0.1))) == 3

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
        assert not of(CreateResponse, commands)  # it answers on its own what it hears

    def test_words_that_the_lost_one_heard_and_did_not_answer_are_said_again_to_the_new_one(self, talking):
        talking.hears(LOUD, 0.3)
        talking.model(SpeechStarted())
        talking.hears(LOUD, 0.3)
        talking.hears(QUIET, 0.5)
        talking.model(SpeechStopped())
        talking.loses_model()
        assert len([c for c in talking.ready() if c == AppendAudio(LOUD)]) == 30
        assert talking.model(SpeechStarted()) == []  # nobody interrupted anything this time
        assert talking.hears(QUIET, 0.02) == [AppendAudio(QUIET)]

    def test_words_that_were_answered_are_not_said_again(self, talking):
        talking.hears(LOUD, 0.6)
        talking.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c1"))
        talking.says(1.0)
        talking.loses_model()
        assert AppendAudio(LOUD) not in talking.ready()

    def test_an_answer_that_began_but_was_not_heard_is_none(self, talking):
        talking.hears(LOUD, 0.6)
        talking.model(SpeechStarted(), SpeechStopped(), SpeechCommitted("c1"), ResponseCreated("resp_1"))
        talking.loses_model()
        assert AppendAudio(LOUD) in talking.ready()

    def test_words_that_came_before_the_greeting_are_not_answered_by_it(self, call):
        call.does(call.conversation.begin())
        call.hears(LOUD, 0.6)
        call.ready()
        call.model(ResponseCreated("greeting"))
        call.loses_model()
        assert AppendAudio(LOUD) in call.ready()

    def test_a_session_that_expired_is_replaced_and_not_to_blame(self, talking):
        commands = talking.model(ErrorEvent("session_expired", "60 minutes"))
        assert (of(DropModel, commands), len(of(OpenModel, commands))) == ([DropModel("")], 1)

    def test_one_that_failed_is_named_to_whoever_opens_the_next(self, talking):
        assert of(DropModel, talking.loses_model("HTTP 500")) == [DropModel("HTTP 500")]

    def test_what_the_lost_one_had_heard_but_half_a_second_is_not_handed_on(self, talking):
        frames = [base64.b64encode(b"\xff" + number.to_bytes(2, "big")).decode() for number in range(107)]
        for frame in frames:
            talking.twilio(Media("MZ1", frame))
        talking.loses_model()
        handed_on = of(AppendAudio, talking.ready())
        assert [each.audio for each in handed_on] == frames[-LEAD_IN_FRAMES:]

    def test_a_new_one_that_finds_no_words_in_what_it_was_handed_is_asked_to_go_on(self, talking):
        talking.hears(LOUD, 0.4)
        talking.loses_model()
        talking.hears(QUIET, 6.0)  # by now the words are no longer kept
        talking.ready()
        assert of(CreateResponse, talking.lives(3.0)) == [CreateResponse(GO_ON)]
        assert (talking.conversation.reconnects, talking.ended) == (1, None)

    def test_a_new_one_that_hears_words_in_it_answers_by_itself(self, talking):
        talking.hears(LOUD, 0.4)
        talking.loses_model()
        talking.ready()
        talking.model(SpeechStarted())
        assert not of(CreateResponse, talking.lives(3.0))

    def test_noise_before_the_model_is_there_does_not_cost_the_first_word(self):
        call = Call(memory=())
        call.does(call.conversation.begin())
        call.hears(LOUD, 0.4)
        call.ready()
        assert of(CreateResponse, call.lives(2.0)) == [CreateResponse(COME_BACK)]

    def test_noise_before_the_greeting_does_not_make_it_deaf_to_the_first_interruption(self, call):
        call.does(call.conversation.begin())
        call.hears(LOUD, 0.4)
        call.ready()
        call.says(2.0)
        call.now += 1.0
        assert call.model(SpeechStarted())[:2] == [Clear("MZ1"), TruncateItem("item_1", 1000)]

    def test_words_of_a_caller_who_waits_are_looked_at_soon(self, talking):
        talking.loses_model()
        assert talking.conversation.deadline() - talking.now <= 0.25

    def test_a_caller_who_still_speaks_is_not_spoken_over_by_the_clip(self, talking):
        talking.loses_model()
        assert not of(Media, talking.hears(LOUD, 1.0))
        assert of(Media, talking.hears(QUIET, PAUSE + 0.1)) == [Media("MZ1", ONE_MOMENT)]

    def test_what_it_said_and_was_heard_long_ago_is_not_spoken_over(self, talking):
        talking.says(0.5)
        talking.now += 5
        talking.returns_marks()
        talking.loses_model()
        talking.waits(THINKING + 2)
        talking.returns_marks()
        talking.ready()
        assert not of(TruncateItem, talking.model(SpeechStarted()))
        assert talking.conversation.interruptions == 0

    def test_a_call_that_has_ended_has_ended(self, talking):
        talking.model(FunctionCall("call_1", "hang_up", "{}"))
        talking.twilio(Stop("MZ1", "AC1", "CA1"))
        assert talking.loses_model() == []
        assert talking.conversation.phase is Phase.ENDED

    def test_after_so_many_losses_the_call_fails(self, talking):
        for _ in range(MOST_STRIKES - 1):
            talking.loses_model()
            talking.ready()
        talking.loses_model()
        assert talking.ended.outcome is Outcome.FAILED
        assert talking.ended.reason == f"the session was lost (gone) ({MOST_STRIKES} times)"

    def test_losses_between_which_the_agent_was_heard_do_not_add_up(self, talking):
        for number in range(2 * MOST_STRIKES):
            talking.loses_model()
            talking.ready()
            talking.answers(0.1, f"item_{number}", f"resp_{number}")
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
        assert of(Media, talking.lives(THINKING + 0.3))

    def test_one_that_stops_in_mid_response_is_replaced(self, talking):
        talking.says(0.2)
        assert of(OpenModel, talking.waits(ASK_AFTER + ANSWER_WITHIN + 0.1))

    def test_one_that_does_not_hear_the_caller_is_replaced_and_hears_it_again(self, talking):
        talking.hears(LOUD, 0.6)
        commands = talking.hears(QUIET, ASK_ABOUT_SPEECH_AFTER + ANSWER_WITHIN + 0.3)
        assert of(OpenModel, commands)
        (prime,) = of(PrimeModel, talking.ready())
        assert AppendAudio(LOUD) in prime.events

    @pytest.mark.parametrize("quiet", [0.0, 0.2, 0.4, 0.6, 0.8])
    def test_one_that_does_not_hear_the_caller_is_asked_in_time(self, talking, quiet):
        talking.hears(QUIET, 1.0)
        conversation, frame, due, asked = talking.conversation, 0.02, talking.conversation.deadline(), []
        speaks = talking.now + quiet
        last_loud = speaks + FRAMES_OF_SPEECH * frame
        while not asked and talking.now < last_loud + 2 * ASK_ABOUT_SPEECH_AFTER:
            audio = LOUD if speaks <= talking.now <= last_loud else QUIET
            conversation.twilio_sent(Media("MZ1", audio), talking.now)
            talking.now += frame
            if talking.now >= due:  # as a session calls it: once it is due, not with each frame
                asked, due = of(AskAlive, talking.does(conversation.tick(talking.now))), conversation.deadline()
        assert (
            last_loud + ASK_ABOUT_SPEECH_AFTER - 2 * frame
            <= talking.now
            <= last_loud + ASK_ABOUT_SPEECH_AFTER + 2 * frame
        )

    def test_noise_that_a_living_model_does_not_take_for_speech_is_none(self, talking):
        talking.hears(LOUD, 0.6)
        assert not of(OpenModel, talking.lives(10))
        assert not of(Media, talking.commands)

    def test_one_that_heard_speech_begin_but_never_end_is_asked(self, talking):
        talking.hears(LOUD, 0.3)
        talking.model(SpeechStarted())
        assert of(AskAlive, talking.hears(QUIET, ASK_ABOUT_SPEECH_AFTER + 0.3))

    def test_while_the_caller_speaks_a_model_that_hears_them_is_seldom_asked(self, talking):
        talking.hears(LOUD, 0.2)
        talking.model(SpeechStarted())
        assert not of(AskAlive, talking.hears(LOUD, ASK_IN_NOISE_AFTER - 0.3))
        assert of(AskAlive, talking.hears(LOUD, 0.6))

    def test_a_knock_is_not_speech(self, talking):
        talking.hears(LOUD, (FRAMES_OF_SPEECH - 2) / 50)
        assert not of(AskAlive, talking.hears(QUIET, 3.0))


class TestRollover:
    @pytest.fixture
    def old(self, monkeypatch):
        """Return a call whose model's hour is about to end. Its successor's has its full length."""
        with monkeypatch.context() as begun_long_ago:
            begun_long_ago.setattr("callgate.core.turns.session_life.ROLLOVER_AFTER", 0.0)
            return greeted(Call())

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

    def test_without_a_pause_it_comes_to_a_loss_in_time(self, old, monkeypatch):
        monkeypatch.setattr("callgate.core.turns.session_life.ROLLOVER_AT_LAST", 0.0)
        old.says(5.0)
        assert of(OpenModel, old.waits(0.5))
