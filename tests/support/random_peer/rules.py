"""What must hold in every call, whatever happens in whatever order: `Rules` is told of every step.

turn_rules    never both at once by our doing; nothing twice
word_rules    whoever waits is answered, and in time
memory_rules  what a session is told is what was heard
end_rules     a call ends only when there is a cause for it
(here)        a tool runs once, and what it gave is told once
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callgate.core.protocols.realtime import (
    AddFunctionOutput,
    AddUserText,
    AgentTranscript,
    AudioDone,
    CallerTranscript,
    ClientEvent,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    RemoteCallBegan,
    RemoteCallEnded,
    ResponseDone,
    SpeechStarted,
)
from callgate.core.protocols.realtime_errors import FATAL_ERRORS
from callgate.core.turns.commands import CallTool, Command, End, Note, OpenModel, Outcome, PrimeModel, TakeMessage
from callgate.core.turns.limits import Step
from callgate.core.turns.tool_desk import LOST, OK, OVERDUE
from callgate.core.turns.transcript import Role, Turn

from .broken import Broken
from .downlink import Item
from .end_rules import EndRules
from .memory_rules import MemoryRules
from .truth import Part, Response
from .turn_rules import TurnRules
from .word_rules import WordRules

if TYPE_CHECKING:
    from .scene import Scene
    from .server import Server

LEAVES_BY = {
    "hang_up": Outcome.GOODBYE,
    "transfer_call": Outcome.TRANSFERRED,
    "send_digits": Outcome.SENDING_DIGITS,
}
LEAVES_BY_KEY = {"0": Outcome.TRANSFERRED, "9": Outcome.GOODBYE}
TO_BE_ANSWERED = ("[The caller pressed these keys", "[The tool", "[The caller pressed 5, and", OVERDUE, LOST)


class Rules:
    """All rules of one call."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._turns = TurnRules(scene)
        self._words = WordRules(scene)
        self._memory = MemoryRules(scene)
        self._ends = EndRules(scene)
        self._notes: set[str] = set()
        self._called: set[str] = set()
        self._asks: tuple[FunctionCall, Response] | None = None  # the tool call that the conversation is told of

    @property
    def waits(self) -> bool:
        """Whether anybody waits for the agent."""
        return self._words.waits

    # What the conversation is told.

    def delivers(self, server: Server, item: Item, about: Any) -> None:
        """The conversation is told an event."""
        self._turns.before(server, item, about)
        match item:
            case SpeechStarted():
                self._words.caller_speaks()
                for number in () if about.is_untold else about.words:
                    self._scene.truth.utterances[number].reported = True
            case CallerTranscript():
                if not about.is_untold:
                    self._memory.transcribed |= {(server, number) for number in about.words}
            case FunctionCall() | RemoteCallBegan():
                if isinstance(item, RemoteCallBegan):
                    self._words.tool_begins(item.item_id)
                if self._is_heard(server, about):
                    about.acted = True
                    self._words.heard(about)
                if isinstance(item, FunctionCall):
                    self._asks = item, about
            case AgentTranscript():
                self._memory.writes(item)
            case AudioDone():
                self._memory.is_whole(item)
            case RemoteCallEnded():
                self._scene.truth.told += 1
                self._words.tool_ends(item.item_id)
                self._tells("what a remote tool gave")
            case ResponseDone():
                self._done(server, item, about)
            case ErrorEvent() if item.code in FATAL_ERRORS:
                self._ends.is_fatal = True

    def delivered(self, server: Server, item: Item, about: Any) -> None:
        """The conversation has been told it."""
        self._asks = None
        self._turns.after(server, item, about, may_leave=self._ends.may_leave)

    def key_pressed(self, key: str) -> None:
        """The caller presses a key."""
        if key in LEAVES_BY_KEY:
            self._ends.may.add(LEAVES_BY_KEY[key])

    def caller_hangs_up(self) -> None:
        """The caller hangs up."""
        self._ends.may.add(Outcome.CALLER_HUNG_UP)

    def refuses_for_good(self) -> None:
        """No session can be opened, ever."""
        self._ends.is_fatal = True

    def tool_done(self, call_id: str, commands: list[Command]) -> None:
        """A tool is done, and this is what follows."""
        self._words.tool_ends(call_id)
        told = [each for each in commands if isinstance(each, AddFunctionOutput) or _is_result(each)]
        if len(told) != (self._scene.sessions.current is not None) and self._scene.ended is None:
            raise Broken("bookkeeping", f"what {call_id} gave is told {len(told)} times")

    def look(self, now: float) -> None:
        """Time has passed."""
        self._words.look(now)

    # What it says.

    def sends(self, server: Server | None, event: ClientEvent) -> None:
        """The session that serves the call is sent an event."""
        if isinstance(event, AddFunctionOutput):
            self._scene.truth.told += 1
            if self._asks is not None:
                self._tool_answered(event, *self._asks)
        elif isinstance(event, CreateResponse):
            if server is None:
                raise Broken("never both at once", "a response is requested though there is no session")
            self._turns.asks(server, event, may_leave=self._ends.may_leave)

    def opens(self, wanted: OpenModel) -> None:
        """Another session is opened."""

    def primes(self, wanted: PrimeModel) -> None:
        """The session that is ready becomes a rival."""
        self._scene.truth.met.add("a rival")
        rival = self._scene.sessions.next
        assert rival is not None
        for event in wanted.events:
            if isinstance(event, CreateResponse):
                self._turns.view(rival).requests(event, self._scene.agenda.now)

    def adopts(self) -> None:
        """Another session serves the call."""
        server = self._scene.sessions.current
        assert server is not None
        if server.number == 0:
            self._words.tells("the greeting")
        else:
            self._scene.truth.met.add("a session replaced")
        self._words.session_replaced()
        self._turns.serves(server)
        self._scene.agenda.after(0.0, self._memory.serves, server)

    def calls(self, command: CallTool | TakeMessage) -> None:
        """A tool is called."""
        if command.call_id in self._called:
            raise Broken("bookkeeping", f"{command.call_id} is called twice")
        self._called.add(command.call_id)
        self._words.tool_begins(command.call_id)

    def said(self, turn: Turn) -> None:
        """A turn is recorded."""
        self._memory.said(turn)
        if turn.role is not Role.NOTE or turn.item_id in self._notes or "_note_" not in turn.item_id:
            return
        self._notes.add(turn.item_id)
        self._scene.truth.told += 1
        if turn.text in (Step.GIVE_UP.value, Step.TIME_UP.value):
            self._ends.may.add(Outcome.GOODBYE)
        if turn.text == OVERDUE:
            self._words.forgets_remote_tools()
        is_asked = turn.text in (step.value for step in Step if step is not Step.WARN)
        if is_asked or turn.text.startswith(TO_BE_ANSWERED) or "can't be done" in turn.text:
            self._tells(turn.text)

    def noted(self, note: Note) -> None:
        """Something is logged."""
        self._ends.noted(note)

    def ends(self, end: End) -> None:
        """The call ends."""
        self._scene.truth.met.add(f"ended: {end.outcome.value}")
        self._ends.ends(end)

    def clip(self) -> None:
        """A clip is played."""
        self._turns.clip(self._scene.sessions.current)

    def forwards(self, response: Response, part: Part) -> None:
        """Audio of the agent's is forwarded."""
        if self._turns.forwards(response, part, may_leave=self._ends.may_leave):
            self._words.heard(response)

    def at_end(self) -> None:
        """The call is over."""
        self._memory.at_end()
        self._ends.at_end()

    def _done(self, server: Server, done: ResponseDone, response: Response) -> None:
        was_of_use = bool(response.forwarded or response.acted)
        if was_of_use and done.status == "completed":
            self._ends.answered()
        if response.asked and not was_of_use and done.reason != "turn_detected" and self._is_heard(server, response):
            self._ends.failed()
            self._turns.failed(server)

    def _is_heard(self, server: Server, response: Response) -> bool:
        turn = self._turns.view(server).turn
        return turn is None or not turn.lasts_at(response.began_at)

    def _tells(self, what: str) -> None:
        server = self._scene.sessions.current
        if server is None or not self._turns.view(server).speaks:
            self._words.tells(what)

    def _tool_answered(self, output: AddFunctionOutput, call: FunctionCall, response: Response) -> None:
        if response.is_twin or not self._is_heard(response.server, response):
            return
        if output.output == OK and call.name in LEAVES_BY:
            self._ends.may.add(LEAVES_BY[call.name])
        elif output.output != OK:
            self._tells(f"that {call.name} failed")


def _is_result(command: object) -> bool:
    return isinstance(command, AddUserText) and " gave: " in command.text
