"""The tools that the agent of one call has asked for, and what follows from that. Pure: no I/O, no clock.

A built-in tool is done as soon as it is called, or decides how the agent leaves: `farewell`. A tool that runs elsewhere
(on the owner's server, in the store) is open until `done`. A key on the caller's telephone may call a tool, too.

A model session knows only the calls that it made itself. The results of calls made by an earlier session, or by a key,
are given to it as text.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from callgate.core.absences import NEVER_AWAY, Absences
from callgate.core.foreign import name_or_length
from callgate.core.protocols.realtime import RemoteCallBegan, RemoteCallEnded, RemoteToolsMissing
from callgate.core.tools import arguments as tool_arguments
from callgate.core.tools.toolbox import HANG_UP, SEND_DIGITS, TAKE_MESSAGE, TRANSFER_CALL, Message, Toolbox, Transfer
from callgate.core.units import SECONDS
from callgate.errors import ToolError

from .commands import CallTool, Command, End, NextStep, Note, Outcome, PutThrough, SendDigits, TakeMessage

REMOTE_DEADLINE = 30 * SECONDS  # for a tool of a remote MCP server, which the API itself calls
MOST_AT_ONCE = 8  # open tool calls
MOST_TRANSFERS = 3  # unanswered ones, in one call
MOST_SENDINGS = 20  # of keys, in one call
MOST_DIGITS = 32  # in one of them
DIGITS = frozenset("0123456789*#wW")
OVERDUE = f"[A tool has not answered within {REMOTE_DEADLINE:.0f} s. Go on without it.]"
LOST = "[A tool was at work when the line to you was interrupted, and what it gave is lost. Ask it again, if need be.]"
LONGEST_MESSAGE = 2_000  # characters
LONGEST_NAME = 200
LONGEST_NOTED = 1_000  # characters of a tool's result that are kept in the transcript
OK = '{"ok":true}'


@dataclass(frozen=True, slots=True)
class Farewell:
    """How the agent leaves once it has been heard to the end."""

    outcome: Outcome
    reason: str
    then: NextStep | None = None


GOODBYE = Farewell(Outcome.GOODBYE, "the agent hung up")


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """A tool's result. ``knows``: the model session made the call itself, and waits for a function's output; otherwise
    it is told ``text``. ``noted``: what the transcript says about it."""

    output: str
    knows: bool
    text: str
    noted: str


@dataclass(frozen=True, slots=True)
class _Open:
    name: str
    key: str = ""  # that called it
    knows: bool = True


class ToolDesk:
    """The tool calls of one telephone call."""

    def __init__(self, toolbox: Toolbox, absences: Absences = NEVER_AWAY) -> None:
        self.farewell: Farewell | None = None
        self.announced = False  # the agent has spoken in the turn in which it leaves
        self.owes_answer = False  # there is a result that the model has not been asked to answer
        self._toolbox = toolbox
        self._absences = absences
        self._http = {tool.name: tool for tool in toolbox.http}
        self._open: dict[str, _Open] = {}
        self._remote: dict[str, float] = {}  # calls that the API itself makes, and how long to wait for each
        self._keys = 0  # number of keys that called tools; used to name those calls

    @property
    def waits(self) -> bool:
        """Whether a tool call is open."""
        return bool(self._open or self._remote)

    @property
    def answers_are_due(self) -> bool:
        """Whether all results are there, and the model has not been asked to answer them."""
        return self.owes_answer and not self.waits

    def asked(self, call_id: str, name: str, arguments: str) -> tuple[list[Command], str | None]:
        """The model calls a tool. Return the commands, and what to tell the model at once, if anything."""
        try:
            commands = self._carry_out(call_id, name, tool_arguments.read(arguments))
        except ToolError as exc:
            self.owes_answer = True
            why = f"The model called the tool {name_or_length(name)}: {exc}"
            return [Note(logging.WARNING, why)], failure(str(exc))
        if self._is_open(call_id, _Open(name), commands):
            return commands, None
        return commands, OK

    def binds(self, key: str) -> bool:
        """Whether a key calls a tool now."""
        return key in self._toolbox.keys and self.farewell is None

    def pressed(self, key: str) -> tuple[list[Command], str, bool]:
        """A key that calls a tool was pressed. Return the commands, the note for the transcript, and whether the call
        was refused: then the model is to be told the note, too, and has to answer it."""
        bound = self._toolbox.keys[key]
        self._keys += 1
        self.announced = False
        call_id = f"key_{self._keys}"
        note = f"[The caller pressed {key} on the telephone, which asks for the tool {bound.tool}"
        try:
            commands = self._carry_out(call_id, bound.tool, dict(bound.arguments))
        except ToolError as exc:
            self.owes_answer = True
            why = Note(logging.WARNING, f"The key {key} calls the tool {bound.tool!r}: {exc}")
            return [why], f"{note}; that can't be done: {exc}]", True
        self._is_open(call_id, _Open(bound.tool, key, knows=False), commands)
        return commands, f"{note}]", False

    def done(self, call_id: str, output: str) -> ToolAnswer | None:
        """A tool returned ``output`` (JSON, or other text). Return None if the call is not open."""
        asked = self._open.pop(call_id, None)
        if asked is None:
            return None
        self.owes_answer = True
        who = f"The caller pressed {asked.key}, and the tool" if asked.key else "The tool"
        gave = output if len(output) <= LONGEST_NOTED else f"{output[:LONGEST_NOTED]} …"
        told = f"[{who} {asked.name} gave: "
        return ToolAnswer(output, asked.knows, f"{told}{output}]", f"{told}{gave}]")

    def remote(self, event: RemoteToolsMissing | RemoteCallBegan | RemoteCallEnded, now: float) -> list[Command]:
        """The API itself calls a remote MCP server and gives the model the result, but that does not make the model
        answer."""
        match event:
            case RemoteToolsMissing():
                item = name_or_length(event.item_id)
                why = f"A remote MCP server did not list its tools ({item}): the model goes on without them"
                return [Note(logging.WARNING, why)]
            case RemoteCallBegan():
                self._remote[event.item_id] = now + REMOTE_DEADLINE
                return []
        self._remote.pop(event.item_id, None)
        self.owes_answer = True
        why = f"A tool of a remote MCP server failed ({name_or_length(event.item_id)}): the model was told"
        return [Note(logging.WARNING, why)] if event.failed else []

    def overdue(self, now: float) -> Note | None:
        """Stop waiting for remote MCP servers that have had their time. If there are any, the model is to be told
        `OVERDUE`; otherwise None is returned."""
        waiting = {item_id: until for item_id, until in self._remote.items() if now < until}
        if len(waiting) == len(self._remote):
            return None
        self._remote = waiting
        self.owes_answer = True
        return Note(logging.WARNING, "A tool of a remote MCP server has not answered: the model goes on without it")

    def answered(self) -> None:
        """The model is answering the results, or is about to."""
        self.owes_answer = False

    def session_replaced(self) -> bool:
        """Another model session took over, which has called nothing yet. Return whether it is to be told `LOST`: calls
        that the API itself made for the previous session are lost with it."""
        are_lost = bool(self._remote)
        self.owes_answer = self.owes_answer or are_lost
        self._remote.clear()
        self._open = {call_id: _Open(asked.name, asked.key, knows=False) for call_id, asked in self._open.items()}
        return are_lost

    def say_goodbye(self) -> None:
        """What the agent says now is its last word."""
        self.farewell = self.farewell or GOODBYE

    def ending(self, how: str) -> End:
        """The agent leaves now. ``how``: whether it was heard, for the log."""
        farewell = self.farewell or GOODBYE
        then = farewell.then
        if isinstance(then, PutThrough):
            then = replace(then, announced=self.announced)
        return End(farewell.outcome, f"{farewell.reason}{how}", then)

    # The tools.

    def _carry_out(self, call_id: str, name: str, arguments: dict[str, Any]) -> list[Command]:
        if (http := self._http.get(name)) is not None:
            self._check_room()
            return [CallTool(call_id, http, arguments)]
        if name not in self._toolbox.built_in:
            raise ToolError("there is no such tool")
        if name == TAKE_MESSAGE:
            self._check_room()
            return [TakeMessage(call_id, _message(arguments))]
        if self.farewell is not None:
            raise ToolError("the call is being left already")
        if name == HANG_UP:
            self.farewell = GOODBYE
        elif name == TRANSFER_CALL:
            self.farewell = self._transfer(arguments)
        elif name == SEND_DIGITS:
            self.farewell = self._send_digits(arguments)
        return []

    def _is_open(self, call_id: str, asked: _Open, commands: list[Command]) -> bool:
        if not any(isinstance(command, CallTool | TakeMessage) for command in commands):
            return False
        self._open[call_id] = asked
        return True

    def _check_room(self) -> None:
        if len(self._open) >= MOST_AT_ONCE:
            raise ToolError(f"{MOST_AT_ONCE} tools are at work already: wait for what they give")

    def _transfer(self, arguments: Mapping[str, Any]) -> Farewell:
        if self._absences.transfers >= MOST_TRANSFERS:
            raise ToolError(f"nobody answered {MOST_TRANSFERS} times in this call: there is no further transfer")
        transfer = self._find(tool_arguments.text_of(arguments, "to", LONGEST_NAME, required=True))
        reason = f"the agent puts the caller through to {transfer.name!r}"
        return Farewell(Outcome.TRANSFERRED, reason, PutThrough(transfer))

    def _find(self, name: str) -> Transfer:
        for transfer in self._toolbox.transfers:
            if transfer.name.casefold() == name.casefold():
                return transfer
        names = ", ".join(transfer.name for transfer in self._toolbox.transfers) or "nobody"
        raise ToolError(f"there is nobody of that name to transfer to; there is: {names}")

    def _send_digits(self, arguments: Mapping[str, Any]) -> Farewell:
        if self._absences.sendings >= MOST_SENDINGS:
            raise ToolError(f"keys were sent {MOST_SENDINGS} times in this call: no more are")
        digits = tool_arguments.text_of(arguments, "digits", MOST_DIGITS, required=True)
        if not DIGITS.issuperset(digits):
            raise ToolError("digits holds other signs than 0-9, *, #, w and W")
        return Farewell(Outcome.SENDING_DIGITS, "the agent sends keys into the line", SendDigits(digits))


def failure(why: str) -> str:
    """Return what the model is told about a tool that failed."""
    return json.dumps({"error": why}, ensure_ascii=False)


def _message(arguments: Mapping[str, Any]) -> Message:
    return Message(
        tool_arguments.text_of(arguments, "text", LONGEST_MESSAGE, required=True),
        tool_arguments.text_of(arguments, "name", LONGEST_NAME),
        tool_arguments.text_of(arguments, "callback", LONGEST_NAME),
    )
