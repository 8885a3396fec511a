"""Limits on people, the memory of a call that was cut off, and what goes on record."""

from dataclasses import replace

from callgate.core.protocols.realtime import (
    AddUserText,
    AgentTranscript,
    AudioDone,
    CallerTranscript,
    CreateResponse,
    ResponseDone,
    SpeechCommitted,
    SpeechStarted,
)
from callgate.core.turns.commands import OpenModel, Outcome
from callgate.core.turns.ending import PLAYED_DEADLINE
from callgate.core.turns.limits import QUESTIONS, WARNING, Step
from callgate.core.turns.transcript import Role, Turn
from callgate.core.wire.media_stream import Mark
from support.conversation_driver import AGENT, LOUD, Call, greeted, of


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

    def test_what_a_call_has_lasted_before_counts(self):
        call = greeted(Call(replace(AGENT, longest=300.0), lasted=200.0))
        assert of(AddUserText, call.waits(100 - WARNING)) == [AddUserText(Step.WARN.value)]
        assert of(AddUserText, call.waits(WARNING + 1)) == [AddUserText(Step.TIME_UP.value)]

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
        for mark in marks[:3]:
            talking.now += 0.8
            talking.twilio(mark)
        assert 1000 <= talking.said["item_1"].heard_ms <= 2000
        talking.model(AudioDone("resp_1", "item_1"))
        talking.now += 3.0
        talking.returns_marks()
        assert talking.said["item_1"].heard_ms is None
