"""The sessions of one call, as `callgate.call.model_sessions` and `callgate.call.rival` have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from callgate.core.protocols.realtime import (
    AppendAudio,
    AudioDelta,
    ClientEvent,
    ErrorEvent,
    FunctionCall,
    RemoteCallBegan,
    ResponseDone,
)
from callgate.core.turns.commands import OpenModel

from .agenda import Agenda
from .downlink import Item, Lost
from .plan import Opening
from .server import Server

KEPT_AUDIO = 250  # frames, for a session that is not there yet


class Sessions:
    """``new``: makes a session. ``opening``: says how the next opening goes. ``ready``, ``refused``: the outcome of it.
    ``comes``: called with each event of the session that serves the call. ``speaks``, ``fails``: called when a rival
    does."""

    def __init__(
        self,
        agenda: Agenda,
        new: Callable[[], Server],
        opening: Callable[[], Opening],
        ready: Callable[[float], None],
        refused: Callable[[Opening], None],
        comes: Callable[[Item, Any], None],
        speaks: Callable[[], None],
        fails: Callable[[str], None],
    ) -> None:
        self.current: Server | None = None
        self.next: Server | None = None
        self._agenda = agenda
        self._new = new
        self._opening = opening
        self._ready = ready
        self._refused = refused
        self._comes = comes
        self._speaks = speaks
        self._fails = fails
        self._opens = 0  # which opening it is …
        self.is_opening = False  # … and whether it is not over
        self._waiting: list[ClientEvent] = []  # for the next session
        self._kept: dict[Server, list[tuple[Item, Any]]] = {}  # what nobody has received yet
        self._is_rival = False  # the next session was primed …
        self._is_decided = False  # … and has spoken, or failed
        self._is_handed_over = True  # what the current session sent before

    # What the conversation says.

    def open(self, wanted: OpenModel) -> None:
        """Begin to open a session."""
        self._opens += 1
        self.is_opening = True
        self._agenda.after(wanted.after, self._begins_to_open, self._opens, wanted)

    def adopt(self) -> None:
        """The session that is ready, or is a rival, serves the call."""
        assert self.next is not None, "there is no session to adopt"
        self.drop()
        self.current, self.next = self.next, None
        self._is_rival = False
        self._is_handed_over = False
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self.send(event)
        self._agenda.after(0.0, self._hand_over, self.current)

    def prime(self, events: tuple[ClientEvent, ...]) -> None:
        """The session that is ready becomes a rival."""
        assert self.next is not None, "there is no session to prime"
        self._is_rival, self._is_decided = True, False
        for event in events:
            _give(self.next, event)
        self._agenda.after(0.0, self._judge_earlier, self.next)

    def drop_beside(self) -> None:
        """Close the session beside the one that serves the call, or give up opening it."""
        self._opens += 1
        self.is_opening = False
        if self.next is not None:
            self._close(self.next)
            self.next, self._is_rival = None, False

    def drop(self) -> None:
        """Close the session that serves the call."""
        self._waiting.clear()
        if self.current is not None:
            self._close(self.current)
            self.current = None

    def send(self, event: ClientEvent) -> None:
        """Send an event to the session that serves the call."""
        if isinstance(event, AppendAudio) and self._is_rival and self.next is not None:
            self.next.hears(event.audio)
        if self.current is not None:
            _give(self.current, event)
        elif not isinstance(event, AppendAudio) or len(self._waiting) < KEPT_AUDIO:
            self._waiting.append(event)

    def hear(self, audio: bytes) -> None:
        """Send a piece of the caller's audio."""
        if self.current is not None:
            self.current.hears(audio)
        if self._is_rival and self.next is not None:
            self.next.hears(audio)

    # What the sessions send.

    def arrives(self, server: Server, item: Item, about: Any) -> None:
        """An event of a session's arrived."""
        if server is self.current and self._is_handed_over:
            self._comes(item, about)
            return
        if server is not self.current and server is not self.next:
            return
        self._kept.setdefault(server, []).append((item, about))
        if server is self.next and self._is_rival and not self._is_decided:
            self._judge(item)

    def _close(self, server: Server) -> None:
        server.link.is_closed = True
        server.closed_at = self._agenda.now

    def _judge_earlier(self, server: Server) -> None:
        for item, _ in tuple(self._kept.get(server, ())):
            if server is self.next and self._is_rival and not self._is_decided:
                self._judge(item)

    def _judge(self, item: Item) -> None:
        match item:
            case AudioDelta() | FunctionCall() | RemoteCallBegan():
                self._is_decided = True
                self._speaks()
            case ResponseDone() if item.status != "cancelled":
                self._is_decided = True
                self._fails(item.why if item.status == "failed" else "its response was empty")
            case ErrorEvent() if item.ends_session:
                self._is_decided = True
                self._fails(item.why)
            case Lost():
                self._is_decided = True
                self._fails(item.reason)

    def _hand_over(self, server: Server) -> None:
        kept = self._kept.get(server, [])
        while kept and server is self.current:
            self._comes(*kept.pop(0))
        if server is self.current:
            self._is_handed_over = True

    def _begins_to_open(self, number: int, wanted: OpenModel) -> None:
        if number != self._opens:
            return
        if self.next is not None:
            self._close(self.next)
            self.next, self._is_rival = None, False
        opening = self._opening()
        self._agenda.after(opening.seconds, self._opened, number, wanted, opening)

    def _opened(self, number: int, wanted: OpenModel, opening: Opening) -> None:
        if number != self._opens:
            return
        self.is_opening = False
        if opening.what != "ready":
            self._refused(opening)
            return
        self.next = self._new()
        self.next.told += [turn.text for turn in wanted.history]
        self._ready(opening.seconds / 2)


def _give(server: Server, event: ClientEvent) -> None:
    if isinstance(event, AppendAudio):
        server.hears(event.audio)
    else:
        server.receives(event)
