"""Whatever the order of things: the model is never asked for two responses at once, never over the caller's words, and
leaves nothing unanswered that a tool gave."""

from __future__ import annotations

from typing import Any

from callgate.media_stream import Dtmf
from callgate.realtime import (
    AddFunctionOutput,
    AddUserText,
    AskAlive,
    CreateResponse,
    FunctionCall,
    ResponseCreated,
    ResponseDone,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
)
from conversation_driver import ALIVE, Call, greeted
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from test_conversation_tools import EQUIPPED


class ToolsInACall(RuleBasedStateMachine):
    """A call, and a server of the model's that behaves as OpenAI's does with ``create_response``."""

    def __init__(self) -> None:
        super().__init__()
        self.call = greeted(Call(EQUIPPED))
        self.response: str | None = None  # under way
        self.due = False  # a response was asked for, or the caller has spoken
        self.speaks = False
        self.words = False  # of the caller's, that no response has answered
        self.open: list[str] = []  # tools
        self.count = self.keys = 0
        self.unanswered = False  # what the model was told since its last response began

    def see(self, commands: list[Any]) -> None:
        for command in commands:
            match command:
                case CreateResponse():
                    assert self.response is None, "a response is under way"
                    assert not self.due, "a response was asked for already"
                    assert not self.speaks, "the caller speaks"
                    self.due = True
                case AddFunctionOutput() | AddUserText():
                    self.unanswered = True
                case AskAlive():
                    self.see(self.call.model(ALIVE))

    def new(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.count}"

    # The model's server.

    @precondition(lambda self: self.due and self.response is None)
    @rule()
    def begins_a_response(self) -> None:
        self.response, self.due, self.unanswered, self.words = self.new("resp"), False, False, False
        self.see(self.call.model(ResponseCreated(self.response)))

    @precondition(lambda self: self.response is not None)
    @rule(name=st.sampled_from(["get_weather", "order", "unknown"]))
    def asks_for_a_tool(self, name: str) -> None:
        call_id = self.new("call")
        self.see(self.call.model(FunctionCall(call_id, name, "{}")))
        if name != "unknown" and len(self.open) < 8:
            self.open.append(call_id)

    @precondition(lambda self: self.response is not None)
    @rule()
    def ends_the_response(self) -> None:
        response, self.response = self.response, None
        self.see(self.call.model(ResponseDone(response or "", "completed")))

    @rule()
    def is_replaced(self) -> None:
        self.response, self.due, self.speaks = None, False, False
        self.see(self.call.loses_model())
        self.see(self.call.ready())
        if self.words:  # it hears them, as audio, and answers by itself
            self.see(self.call.model(SpeechStarted(), SpeechStopped(), SpeechCommitted(self.new("item"))))
            self.due = True

    # The caller.

    @precondition(lambda self: not self.speaks)
    @rule()
    def speaks_up(self) -> None:
        self.speaks, self.due, self.words = True, False, True
        self.see(self.call.model(SpeechStarted()))
        if self.response is not None:
            response, self.response = self.response, None
            self.see(self.call.model(ResponseDone(response, "cancelled")))

    @precondition(lambda self: self.speaks)
    @rule()
    def falls_silent(self) -> None:
        self.speaks, self.due = False, True
        self.see(self.call.model(SpeechStopped(), SpeechCommitted(self.new("item"))))

    @precondition(lambda self: len(self.open) < 8)
    @rule()
    def presses_a_key(self) -> None:
        self.keys += 1
        self.see(self.call.twilio(Dtmf("MZ1", "5")))
        self.open.append(f"key_{self.keys}")

    # The tools, and time.

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def a_tool_is_done(self, data: st.DataObject) -> None:
        call_id = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.see(self.call.does(self.call.conversation.tool_done(call_id, '{"ok":true}', self.call.now)))

    @rule()
    def time_passes(self) -> None:
        self.see(self.call.waits(0.1))

    @invariant()
    def the_call_goes_on(self) -> None:
        assert self.call.ended is None or "lost within a minute" in self.call.ended.reason

    def teardown(self) -> None:
        """When all is over that was begun, the model has nothing left to answer."""
        if self.call.ended is not None:
            return
        if self.speaks:
            self.falls_silent()
        for call_id in self.open:
            self.see(self.call.does(self.call.conversation.tool_done(call_id, "{}", self.call.now)))
        for _ in range(4):
            if self.response is not None:
                self.ends_the_response()
            if self.due:
                self.begins_a_response()
        assert not self.unanswered


TestToolsInACall = ToolsInACall.TestCase
TestToolsInACall.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
