"""Which model session serves a call: the first one, and those that take over. Pure.

A session that is gone is replaced, by the one beside it if there is one. One whose hour is nearly over is replaced in a
pause. What becomes of one that is only doubtful is said in `rivalry`.
"""

from __future__ import annotations

import logging

from .call_parts import CallParts
from .comfort import PAUSE
from .commands import Command, DropModel, Note
from .recovery import Beside, GiveUp
from .rivalry import Rivalry
from .serving import Serving


class Succession:
    """The succession of one call's model sessions."""

    def __init__(self, parts: CallParts, serving: Serving, rivalry: Rivalry) -> None:
        self._parts = parts
        self._serving = serving
        self._rivalry = rivalry

    def begin(self) -> list[Command]:
        """Open the first session."""
        return self._serving.open(0.0)

    def ready(self, now: float, answered_within: float) -> list[Command]:
        """The session being opened is ready. ``answered_within``: seconds that it took to confirm its
        configuration."""
        recovery = self._parts.recovery
        if self._serving.is_there and recovery.beside is not Beside.OPENING:
            return []
        self._serving.is_ready(answered_within)
        if not self._serving.is_there:
            return self._serving.take_over(now)
        recovery.is_ready_beside()
        return [*self._rivalry.use(now), *self.roll_over(now)]

    def unavailable(self, reason: str, now: float, *, fatal: bool, retry_after: float | None) -> list[Command]:
        """The session could not be opened. ``fatal``: retrying can't help."""
        if self._serving.is_there:
            return self._rivalry.unavailable(reason, now, retry_after)
        recovery = self._parts.recovery
        recovery.none_beside()  # it was to be, until the session that it was opened beside was lost
        verdict = recovery.give_up(reason) if fatal else recovery.strike(reason, now, retry_after)
        if isinstance(verdict, GiveUp):
            return self._serving.safety_net(verdict)
        wait = verdict.at - now
        note = Note(logging.WARNING, f"No model session ({reason}): trying again in {wait:.1f} s")
        return [note, *self._serving.open(wait)]

    def lost(self, reason: str, now: float, *, is_to_blame: bool = True) -> list[Command]:
        """The session that serves the call is gone. ``is_to_blame``: another server is tried first."""
        parts = self._parts
        if not self._serving.is_there:
            return []
        if parts.ending.farewell is not None:
            self._serving.is_gone()
            return [DropModel(), *parts.leave(now)]
        wait = 0.0
        if is_to_blame or self._serving.life.is_young(now):
            verdict = parts.recovery.strike(f"the session was lost ({reason})", now)
            if isinstance(verdict, GiveUp):
                return self._serving.safety_net(verdict)
            wait = 0.0 if parts.recovery.is_first_strike else verdict.at - now
        self._serving.counts()
        parts.comfort.is_due_at_once(now)
        commands: list[Command] = [
            parts.memory.loss(), DropModel(reason if is_to_blame else ""), *parts.speech.last_mark()
        ]  # fmt: skip
        return [*self._go_on(f"The model's session was lost ({reason})", commands, wait, now)]

    def useless(self, reason: str, now: float) -> list[Command]:
        """Nothing more will come of this session, nor of another one at the same server."""
        if self._parts.agent.has_second_model:
            return self.lost(reason, now)
        return self._serving.safety_net(self._parts.recovery.give_up(reason))

    def roll_over(self, now: float) -> list[Command]:
        """In a pause, replace a session whose hour is nearly over by one that knows what was said."""
        parts, life, beside = self._parts, self._serving.life, self._parts.recovery.beside
        if not life.is_ending(now) or (beside is not Beside.NONE and not self._rivalry.is_for_pause):
            return []
        if life.is_over(now):
            return self.lost("its hour is nearly over, and there was no pause", now, is_to_blame=False)
        quiet_since = parts.quiet_since()
        if quiet_since is None or now < quiet_since + PAUSE or beside is Beside.OPENING:
            return []
        if beside is Beside.NONE:
            return self._rivalry.open_for_pause()
        note = Note(logging.INFO, "The model session's hour is nearly over: another goes on with the call")
        return [note, *self._serving.take_over(now)]

    def _go_on(self, what: str, commands: list[Command], wait: float, now: float) -> list[Command]:
        """Have another session go on with the call: the one beside the lost one, if there is one."""
        beside = self._parts.recovery.beside
        if beside is Beside.RIVAL:
            commands += self._serving.adopt_rival(now)
        elif beside is Beside.READY:
            commands += self._serving.take_over(now)
        else:
            self._serving.is_gone()
        then = "opening another" if beside is Beside.NONE else "the one beside it goes on"
        if beside is Beside.NONE:
            commands += self._serving.open(wait)
        return [Note(logging.WARNING, f"{what}: {then}"), *commands]
