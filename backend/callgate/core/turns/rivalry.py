"""What becomes of a model session that is doubtful: it is silent, or its responses fail. Pure.

It is kept, and another is opened beside it and told everything, as its *rival*: whichever speaks first goes on with the
call, and the other is closed.
"""

from __future__ import annotations

import logging

from callgate.core.protocols.realtime import AskAlive

from .call_parts import CallParts
from .commands import Command, DropBeside, DropModel, Note
from .recovery import Beside, GiveUp
from .serving import Serving

AGAIN_AFTER = 1.0  # seconds, before another session is opened beside after one that failed


class Rivalry:
    """The session beside the one that serves a call."""

    def __init__(self, parts: CallParts, serving: Serving, now: float) -> None:
        self._parts = parts
        self._serving = serving
        self._is_for_pause = False  # it is to take over in a pause
        self._why = ""  # the reason why it was opened
        self._not_before = now  # when to open another one

    # Opening.

    @property
    def is_for_pause(self) -> bool:
        """Whether it is to take over in a pause."""
        return self._is_for_pause

    def open_for_pause(self) -> list[Command]:
        """Open a session that is to take over in a pause."""
        self._parts.recovery.opens_beside()
        self._is_for_pause = True
        return self._serving.open(0.0)

    def unavailable(self, reason: str, now: float, retry_after: float | None) -> list[Command]:
        """It could not be opened."""
        recovery = self._parts.recovery
        if recovery.beside is not Beside.OPENING:
            return []
        recovery.none_beside()
        self._serving.life.no_successor(now)
        self._not_before = now + max(recovery.not_opened(), retry_after or 0.0)
        return [Note(logging.WARNING, f"Another model session could not be opened beside this one: {reason}")]

    def failed(self, reason: str, now: float, retry_after: float | None = None) -> list[Command]:
        """The session that serves the call failed to answer, but lives: it is asked again, and another is opened beside
        it."""
        verdict = self._parts.recovery.strike(reason, now, retry_after)
        if isinstance(verdict, GiveUp):
            return self._serving.safety_net(verdict)
        self._parts.floor.hold_off(verdict.at)
        note = Note(
            logging.WARNING, f"The model did not answer: {reason}. It is asked again in {verdict.at - now:.1f} s"
        )
        return [note, *(self._open(reason, now) if verdict.beside else [])]

    # Who speaks first.

    def rival_speaks(self, now: float) -> list[Command]:
        """The rival speaks first: it goes on with the call."""
        if self._parts.recovery.beside is not Beside.RIVAL or not self._serving.is_there:
            return []
        self._serving.counts()
        note = Note(logging.WARNING, f"Another model session spoke first, and goes on with the call ({self._why})")
        return [note, self._parts.memory.loss(), DropModel(self._why), *self._serving.adopt_rival(now)]

    def rival_failed(self, reason: str, now: float) -> list[Command]:
        """The rival is lost, or its response failed."""
        recovery = self._parts.recovery
        if recovery.beside is not Beside.RIVAL or not self._serving.is_there:
            return []
        recovery.none_beside()
        self._not_before = now + AGAIN_AFTER
        verdict = recovery.strike(f"another session failed, too ({reason})", now)
        if isinstance(verdict, GiveUp) and not self._parts.floor.has_responses:
            return self._serving.safety_net(verdict)
        return [Note(logging.WARNING, f"The model session beside this one failed: {reason}"), DropBeside()]

    def spoke(self) -> list[Command]:
        """The session that serves the call speaks: no other is needed."""
        recovery = self._parts.recovery
        if recovery.beside is Beside.NONE or self._is_for_pause:
            return []
        recovery.none_beside()
        self._parts.liveness.was_wrong()
        return [Note(logging.INFO, "The model speaks after all: the session beside it is closed"), DropBeside()]

    # Time.

    def see_to_the_model(self, now: float) -> list[Command]:
        """Check whether a silent model is alive, and open another session beside it if it is doubtful."""
        parts = self._parts
        commands: list[Command] = []
        if is_due(self._ask_at(), now):
            parts.liveness.asked(now)
            commands.append(AskAlive())
        if is_due(parts.recovery.rival_overdue_at(), now):
            return [*commands, *self._neither_spoke(now)]
        if parts.recovery.beside is Beside.NONE and self._is_doubtful(now):
            silent = "it is silent, and does not answer" if parts.liveness.is_asked else "it is silent"
            commands += self._open(silent, now)
        return commands + self.use(now)

    def use(self, now: float) -> list[Command]:
        """Decide what a session is for that is ready beside a doubtful one."""
        parts = self._parts
        if parts.recovery.beside is not Beside.READY or self._is_for_pause:
            return []
        if parts.floor.is_open and not parts.desk.waits and not parts.audio.is_unanswered:
            if not self._is_doubtful(now) and not parts.recovery.is_trying:
                return self.spoke()
            self._serving.counts()
            note = Note(logging.WARNING, f"Another model session goes on with the call ({self._why})")
            return [note, parts.memory.loss(), *self._serving.take_over(now)]
        if parts.speech.words_end_at > now:  # what was said before is still heard
            return []
        return self._serving.prime(now)

    def deadlines(self) -> list[float | None]:
        """When to look again."""
        waits = [self._ask_at(), self._parts.recovery.rival_overdue_at()]
        if self._parts.recovery.beside is Beside.NONE and (doubtful_at := self._doubtful_at()) is not None:
            waits.append(max(doubtful_at, self._not_before))
        return waits

    def _open(self, why: str, now: float) -> list[Command]:
        if self._parts.recovery.beside is not Beside.NONE or now < self._not_before:
            return []
        self._parts.recovery.opens_beside()
        self._is_for_pause = False
        self._why = why
        note = Note(logging.WARNING, f"The model is doubtful ({why}): another session is opened beside it")
        return [note, *self._serving.open(0.0, beside=True)]

    def _neither_spoke(self, now: float) -> list[Command]:
        """Neither of two sessions spoke. One that does not even answer is given up; otherwise the newer one is."""
        if not self._parts.liveness.is_asked:
            return self.rival_failed("neither of the two spoke", now)
        return [*self.rival_speaks(now), *self.failed("two sessions were silent", now)]

    def _ask_at(self) -> float | None:
        parts = self._parts
        return parts.liveness.ask_at(
            is_its_turn=parts.floor.awaits_model,
            unheard=parts.audio.unheard or parts.floor.caller_speaks,
            caller_since=parts.audio.loud_since,
            caller_until=parts.audio.loud_until,
        )

    def _doubtful_at(self) -> float | None:
        floor = self._parts.floor
        owed_since = max(floor.since, self._parts.speech.words_end_at) if floor.awaits_model else None
        return self._parts.liveness.doubtful_at(owed_since)

    def _is_doubtful(self, now: float) -> bool:
        return is_due(self._doubtful_at(), now)


def is_due(at: float | None, now: float) -> bool:
    """Whether a deadline has come."""
    return at is not None and now >= at
