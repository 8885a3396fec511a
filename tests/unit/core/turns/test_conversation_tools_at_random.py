"""In any order of events, the model is never asked for two responses at once, nor during the caller's words, nor
before all tool results are there. No tool result and no words of the caller stay unanswered. What the model says is
heard, unless it was asked to before the caller began to speak, and began after."""

from __future__ import annotations

from typing import Any

from callgate.core.protocols.realtime import (
    ALREADY_RESPONDING,
    AddFunctionOutput,
    AddUserText,
    AskAlive,
    AudioDelta,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    RemoteCallBegan,
    RemoteCallEnded,
    ResponseCreated,
    ResponseDone,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
)
from callgate.core.wire.media_stream import Dtmf, Media
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.conversation_driver import ALIVE, EQUIPPED, Call, audio, greeted, of


class ToolsInACall(RuleBasedStateMachine):
    """A call, with a model's server that behaves as OpenAI's does with ``create_response``."""

    def __init__(self) -> None:
        super().__init__()
        self.call = greeted(Call(EQUIPPED))
        self.lost = False  # whether there is no model
        self.response: str | None = None  # in progress
        self.is_heard = True
        self.asked = False  # for a response that has not begun
        self.due = False  # a response will begin by itself, because the caller has spoken
        self.speaks = False
        self.words = False  # the caller's, not yet answered by a response
        self.open: list[str] = []  # running tools
        self.known: set[str] = set()  # those of them that this session has called
        self.remote: list[str] = []  # calls that the API itself makes
        self.failed = False  # the last response
        self.count = self.keys = 0
        self.unanswered = False  # the model was told something that no response has answered that began later
        self.count_of_told = self.told_before = 0

    def see(self, commands: list[Any]) -> None:
        for command in commands:
            match command:
                case CreateResponse():
                    assert self.response is None, "a response is under way"
                    assert not any((self.asked, self.due)), "a response is to begin already"
                    assert not self.speaks, "the caller speaks"
                    # The caller's words are not left unanswered for a tool.
                    assert self.words or not any((self.known, self.remote)), "a tool that the model asked for is open"
                    self.asked = True
                case AddFunctionOutput() | AddUserText():
                    self.is_told()
                case AskAlive():
                    self.see(self.call.model(ALIVE))

    def is_told(self) -> None:
        self.unanswered = True
        self.count_of_told += 1

    def new(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.count}"

    @property
    def responds(self) -> bool:
        return self.response is not None and self.call.ended is None

    def is_answered(self) -> None:
        """The response under way speaks, or calls a tool."""
        if self.is_heard:
            self.words = False
            self.unanswered = self.unanswered and self.told_before < self.count_of_told

    # The model's server.

    @precondition(lambda self: (self.asked or self.due) and self.response is None)
    @rule()
    def begins_a_response(self) -> None:
        self.response, self.is_heard = self.new("resp"), not self.speaks
        is_late = self.asked and self.due
        self.asked = self.due = False
        self.told_before = self.count_of_told if self.is_heard else -1
        self.see(self.call.model(ResponseCreated(self.response)))
        if is_late:  # the requested response arrives while the model answers the caller
            self.see(self.call.model(ErrorEvent(ALREADY_RESPONDING, "")))

    @precondition(lambda self: self.responds)
    @rule()
    def says_something(self) -> None:
        self.is_answered()
        said = self.call.model(AudioDelta(self.response or "", f"item_of_{self.response}", audio(0.1)))
        assert bool(of(Media, said)) == self.is_heard
        self.see(said)

    @precondition(lambda self: self.responds)
    @rule(name=st.sampled_from(["get_weather", "order", "unknown"]))
    def asks_for_a_tool(self, name: str) -> None:
        call_id = self.new("call")
        if name != "unknown" and len(self.open) < 8:
            self.open.append(call_id)
            self.known.add(call_id)
        self.is_answered()
        self.see(self.call.model(FunctionCall(call_id, name, "{}", self.response or "")))

    @precondition(lambda self: self.responds)
    @rule()
    def asks_for_a_remote_tool(self) -> None:
        self.is_answered()
        self.remote.append(self.new("mcp"))
        self.see(self.call.model(RemoteCallBegan(self.remote[-1])))

    @precondition(lambda self: self.remote and not self.lost)
    @rule()
    def has_what_a_remote_tool_gave(self) -> None:
        self.is_told()
        self.see(self.call.model(RemoteCallEnded(self.remote.pop(), failed=False)))

    @precondition(lambda self: self.response is not None)
    @rule()
    def ends_the_response(self) -> None:
        response, self.response, self.failed = self.response, None, False
        self.see(self.call.model(ResponseDone(response or "", "completed")))

    @precondition(lambda self: self.response is not None and not self.failed)
    @rule()
    def fails(self) -> None:
        response, self.response, self.failed = self.response, None, True
        self.see(self.call.model(ResponseDone(response or "", "failed", None, "server_error", "sorry")))

    @precondition(lambda self: not self.lost)
    @rule()
    def is_lost(self) -> None:
        self.lost, self.response, self.asked, self.due, self.speaks = True, None, False, False, False
        self.see(self.call.loses_model())

    @precondition(lambda self: self.lost)
    @rule()
    def is_replaced(self) -> None:
        self.lost = False
        self.known.clear()
        if self.remote:
            self.remote = []
            self.is_told()
        self.see(self.call.ready())
        if self.words:  # it hears them as audio, and answers on its own
            self.see(self.call.model(SpeechStarted(), SpeechStopped(), SpeechCommitted(self.new("item"))))
            self.due = True

    # The caller.

    @precondition(lambda self: not self.speaks and not self.lost)
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
        self.speaks, self.due = False, self.response is None
        self.see(self.call.model(SpeechStopped(), SpeechCommitted(self.new("item"))))

    @precondition(lambda self: len(self.open) < 8)
    @rule()
    def presses_a_key(self) -> None:
        self.keys += 1
        self.open.append(f"key_{self.keys}")
        self.see(self.call.twilio(Dtmf("MZ1", "5")))

    @rule()
    def presses_a_key_that_can_not_do_it(self) -> None:
        self.keys += 1
        self.see(self.call.twilio(Dtmf("MZ1", "7")))

    # The tools, and time.

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def a_tool_is_done(self, data: st.DataObject) -> None:
        self.tool_done(self.open[data.draw(st.integers(0, len(self.open) - 1))])

    def tool_done(self, call_id: str) -> None:
        self.open.remove(call_id)
        self.known.discard(call_id)
        self.is_told()
        self.see(self.call.does(self.call.conversation.tool_done(call_id, '{"ok":true}', self.call.now)))

    @rule()
    def time_passes(self) -> None:
        self.see(self.call.waits(0.1))

    @invariant()
    def the_call_goes_on(self) -> None:
        tried = ("the session was lost", "its response")
        assert self.call.ended is None or self.call.ended.reason.startswith(tried)

    def teardown(self) -> None:
        """When everything started is over, the model has nothing left to answer."""
        if self.call.ended is not None:
            return
        if self.lost:
            self.is_replaced()
        if self.speaks:
            self.falls_silent()
        while self.remote:
            self.has_what_a_remote_tool_gave()
        while self.open:
            self.tool_done(self.open[0])
        for _ in range(40):
            if self.response is not None:
                self.says_something()
                self.ends_the_response()
            if self.due or self.asked:
                self.begins_a_response()
            self.time_passes()
        if self.call.ended is not None:
            return
        assert not self.unanswered
        assert not self.words


TestToolsInACall = ToolsInACall.TestCase
TestToolsInACall.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
