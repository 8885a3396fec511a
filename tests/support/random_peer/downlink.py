"""What one session sends, on its way to us: in order, after a while, and with the faults that are planned for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from callgate.core.protocols.realtime import SESSION_EXPIRED, AgentTranscript, AudioDelta, ErrorEvent, ServerEvent

from .agenda import Agenda
from .plan import Fault
from .truth import Trouble, Truth

HELD_FOR = 1.0  # seconds at most, if nothing follows that it can be swapped with
OF_WHOLE_EVENTS = frozenset({"dropped", "doubled", "swapped"})  # nobody could notice that of a piece


@dataclass(frozen=True, slots=True)
class Lost:
    """The session's socket is gone."""

    reason: str


Item = ServerEvent | Lost
Arrive = Callable[[Item, Any], None]


class Downlink:
    """``arrive``: called with each event that arrives, and what it is about. ``strikes``: called when a fault comes
    that the server itself has to make."""

    def __init__(
        self,
        agenda: Agenda,
        truth: Truth,
        latency: float,
        faults: list[Fault],
        arrive: Arrive,
        strikes: Callable[[str], None],
    ) -> None:
        self.is_hung = False
        self.is_closed = False
        self._agenda = agenda
        self._truth = truth
        self._latency = latency
        self._arrive = arrive
        self._strikes = strikes
        self._faults: dict[int, list[Fault]] = {}
        for fault in faults:
            self._faults.setdefault(fault.event, []).append(fault)
        self._count = 0
        self._last = 0.0  # when the last event arrives
        self._held: tuple[ServerEvent, Any] | None = None

    def send(self, event: ServerEvent, about: Any = None) -> bool:
        """Send an event. Return whether it arrives, and in its order."""
        if self.is_hung or self.is_closed:
            return True
        number, self._count = self._count, self._count + 1
        faults = self._faults.pop(number, None)
        if faults is None and self._held is None:
            self._push(event, about)
            return True
        if faults is None:
            self._pass_on(event, about)
            return True
        if isinstance(event, AudioDelta) or (isinstance(event, AgentTranscript) and not event.complete):
            later = [fault for fault in faults if fault.what in OF_WHOLE_EVENTS]
            self._faults.setdefault(number + 1, []).extend(later)
            faults = [fault for fault in faults if fault.what not in OF_WHOLE_EVENTS]
        self._with_faults(event, about, faults)
        return all(fault.what not in ("dropped", "swapped") for fault in faults)

    def lose(self, reason: str) -> None:
        """The socket is gone."""
        if not self.is_closed:
            self._push(Lost(reason), None)
            self.is_closed = True

    def _with_faults(self, event: ServerEvent, about: Any, faults: list[Fault]) -> None:
        kinds = {fault.what: fault.seconds for fault in faults}
        for what, seconds in kinds.items():
            self._truth.met.add(what)
            self._truth.troubles.append(Trouble(self._agenda.now, what, seconds if what == "delayed" else 20.0))
        if "delayed" in kinds:
            self._last = max(self._last, self._agenda.now + self._latency) + kinds["delayed"]
        if "hung" in kinds:
            self.is_hung = True
            if kinds["hung"] > 2:
                self._agenda.after(10 * kinds["hung"], self.lose, "it answered no ping")
            return
        if "lost" in kinds:
            self.lose("reset")
            return
        if "expired" in kinds:
            self._push(ErrorEvent(SESSION_EXPIRED, ""), None)
            self.lose("1001")
            return
        if "fatal" in kinds:
            self._push(ErrorEvent("insufficient_quota", ""), None)
        if "error" in kinds:
            self._push(ErrorEvent("server_error", "sorry"), None)
        if "named error" in kinds:
            self._push(ErrorEvent("invalid_value", "sorry", event_id="another"), None)
        if "swapped" in kinds and self._held is None:
            self._held = event, about
            self._agenda.after(HELD_FOR, self._let_go)
        elif "dropped" not in kinds:
            self._pass_on(event, about)
            if "doubled" in kinds:
                self._push(event, about)
        for what in ("cancels", "speaks up"):
            if what in kinds:
                self._strikes(what)

    def _pass_on(self, event: ServerEvent, about: Any) -> None:
        self._push(event, about)
        self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            if not self.is_closed:
                self._push(*held)

    def _push(self, event: Item, about: Any) -> None:
        self._last = max(self._last, self._agenda.now + self._latency)
        self._agenda.at(self._last, self._arrive, event, about)
