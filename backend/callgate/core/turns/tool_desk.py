"""The tools that the agent of one call has asked for, and what follows from that. Pure: no I/O, no clock.

A built-in tool is done as soon as it is called, or decides how the agent leaves: `AskedTool.farewell`. A tool that runs
elsewhere (on the owner's server, in the store) is open until `done`. A key on the caller's telephone may call a tool,
too.

A model session knows only the calls that it made itself. The results of calls made by an earlier session, or by a key,
are given to it as text.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callgate.core.absences import NEVER_AWAY, Absences
from callgate.core.foreign import name_or_length
from callgate.core.protocols.realtime import RemoteCallBegan, RemoteCallEnded, RemoteToolsMissing
from callgate.core.tools import arguments as tool_arguments
from callgate.core.tools.toolbox import HANG_UP, SEND_DIGITS, TAKE_MESSAGE, TRANSFER_CALL, Message, Toolbox, Transfer
from callgate.core.units import SECONDS
from callgate.errors import ToolError

from .commands import CallTool, Command, Note, Outcome, PutThrough, SendDigits, TakeMessage
from .ending import GOODBYE, Farewell

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
LEAVING = frozenset({HANG_UP, TRANSFER_CALL, SEND_DIGITS})  # the tools with which the agent leaves the call


@dataclass(frozen=True, slots=True)
class AskedTool:
    """What follows from the call of a tool. ``output``: what to tell the model at once. ``farewell``: how the agent
    leaves. ``owes_answer``: the model has to be asked to go on."""

    commands: list[Command]
    output: str | None = None
    farewell: Farewell | None = None
    owes_answer: bool = False


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
        self._toolbox = toolbox
        self._absences = absences
        self._http = {tool.name: tool for tool in toolbox.http}
        self._open: dict[str, _Open] = {}
        self._asked: set[str] = set()  # the calls of the present model session
        self._remote: dict[str, float] = {}  # calls that the API itself makes, and how long to wait for each
        self._keys = 0  # number of keys that called tools; used to name those calls

    @property
    def waits(self) -> bool:
        """Whether a tool call is open."""
        return bool(self._open or self._remote)

    def asked(self, call_id: str, name: str, arguments: str, *, may_leave: bool, is_leaving: bool = False) -> AskedTool:
        """The model calls a tool. ``may_leave``: the caller hears the response in which it does; otherwise they have
        begun to speak, and must not be left. ``is_leaving``: the call is being left already."""
        if call_id in self._asked:
            note = Note(logging.WARNING, f"The model called the tool {name_or_length(name)} twice: once is done")
            return AskedTool([note], owes_answer=call_id not in self._open)
        self._asked.add(call_id)
        try:
            if not may_leave and name in LEAVING:
                raise ToolError("the caller began to speak before they heard this: the call goes on")
            commands, farewell = self._carry_out(call_id, name, tool_arguments.read(arguments), is_leaving)
        except ToolError as exc:
            why = f"The model called the tool {name_or_length(name)}: {exc}"
            return AskedTool([Note(logging.WARNING, why)], failure(str(exc)), owes_answer=True)
        if self._is_open(call_id, _Open(name), commands):
            return AskedTool(commands)
        return AskedTool(commands, OK, farewell)

    def binds(self, key: str) -> bool:
        """Whether a key calls a tool."""
        return key in self._toolbox.keys

    def pressed(self, key: str) -> tuple[AskedTool, str]:
        """A key that calls a tool was pressed. Return what follows, and the note for the transcript."""
        bound = self._toolbox.keys[key]
        self._keys += 1
        call_id = f"key_{self._keys}"
        note = f"[The caller pressed {key} on the telephone, which asks for the tool {bound.tool}"
        try:
            commands, farewell = self._carry_out(call_id, bound.tool, dict(bound.arguments), False)
        except ToolError as exc:
            why = Note(logging.WARNING, f"The key {key} calls the tool {bound.tool!r}: {exc}")
            return AskedTool([why], owes_answer=True), f"{note}; that can't be done: {exc}]"
        self._is_open(call_id, _Open(bound.tool, key, knows=False), commands)
        return AskedTool(commands, farewell=farewell), f"{note}]"

    def done(self, call_id: str, output: str) -> ToolAnswer | None:
        """A tool returned ``output`` (JSON, or other text). Return None if the call is not open."""
        asked = self._open.pop(call_id, None)
        if asked is None:
            return None
        who = f"The caller pressed {asked.key}, and the tool" if asked.key else "The tool"
        gave = output if len(output) <= LONGEST_NOTED else f"{output[:LONGEST_NOTED]} …"
        told = f"[{who} {asked.name} gave: "
        return ToolAnswer(output, asked.knows, f"{told}{output}]", f"{told}{gave}]")

    def remote(self, event: RemoteToolsMissing | RemoteCallBegan | RemoteCallEnded, now: float) -> list[Command]:
        """The API itself calls a remote MCP server and gives the model the result, but that does not make the model
        answer: it has to be asked once the call has ended."""
        match event:
            case RemoteToolsMissing():
                item = name_or_length(event.item_id)
                why = f"A remote MCP server did not list its tools ({item}): the model goes on without them"
                return [Note(logging.WARNING, why)]
            case RemoteCallBegan():
                self._remote[event.item_id] = now + REMOTE_DEADLINE
                return []
        self._remote.pop(event.item_id, None)
        why = f"A tool of a remote MCP server failed ({name_or_length(event.item_id)}): the model was told"
        return [Note(logging.WARNING, why)] if event.failed else []

    def overdue(self, now: float) -> Note | None:
        """Stop waiting for remote MCP servers that have had their time. If there are any, the model is to be told
        `OVERDUE`, and to answer that; otherwise None is returned."""
        waiting = {item_id: until for item_id, until in self._remote.items() if now < until}
        if len(waiting) == len(self._remote):
            return None
        self._remote = waiting
        return Note(logging.WARNING, "A tool of a remote MCP server has not answered: the model goes on without it")

    def overdue_at(self) -> float | None:
        """When to call `overdue`."""
        return min(self._remote.values(), default=None)

    def session_replaced(self) -> bool:
        """Another model session took over, which has called nothing yet. Return whether it is to be told `LOST`, and to
        answer that: calls that the API itself made for the previous session are lost with it."""
        are_lost = bool(self._remote)
        self._remote.clear()
        self._asked.clear()
        self._open = {call_id: _Open(asked.name, asked.key, knows=False) for call_id, asked in self._open.items()}
        return are_lost

    # The tools.

    def _carry_out(
        self, call_id: str, name: str, arguments: dict[str, Any], is_leaving: bool
    ) -> tuple[list[Command], Farewell | None]:
        if (http := self._http.get(name)) is not None:
            self._check_room()
            return [CallTool(call_id, http, arguments)], None
        if name not in self._toolbox.built_in:
            raise ToolError("there is no such tool")
        if name == TAKE_MESSAGE:
            self._check_room()
            return [TakeMessage(call_id, _message(arguments))], None
        if is_leaving:
            raise ToolError("the call is being left already")
        if name == TRANSFER_CALL:
            return [], self._transfer(arguments)
        if name == SEND_DIGITS:
            return [], self._send_digits(arguments)
        return [], GOODBYE if name == HANG_UP else None

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
