"""What becomes of a model session that is doubtful: it is silent, or its responses fail. Pure.

It is kept, and another is opened beside it and told everything, as its *rival*: whichever speaks first goes on with the
call, and the other is closed.
"""

from __future__ import annotations

import logging

from callgate.core.protocols.realtime import AskAlive
from callgate.core.units import SECONDS

from .call_parts import CallParts
from .commands import Command, DropBeside, DropModel, Note
from .recovery import RIVAL_WITHIN, Beside, GiveUp
from .serving import Serving

AGAIN_AFTER = 1 * SECONDS  # after a rival has failed, before another is opened
# A caller who is silent for longer has ended their sentence, whatever the model hears: twice what the slowest voice
# detection usually waits.
PAUSE_IN_SPEECH = 4 * SECONDS


class Rivalry:
    """The session beside the one that serves a call."""

    def __init__(self, parts: CallParts, serving: Serving, now: float) -> None:
        self._parts = parts
        self._serving = serving
        self._is_for_pause = False  # it is to take over in a pause
        self._why = ""  # the reason why it was opened
        self._not_before = now  # when to open another one
        self._counted_at = now  # when it last counted as a failure that no other session could be opened

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
        if self._is_for_pause:
            self._serving.life.no_successor(now)
        self._not_before = now + max(recovery.not_opened(), retry_after or 0.0)
        note = Note(logging.WARNING, f"Another model session could not be opened beside this one: {reason}")
        doubtful_at = self._doubtful_at()
        if doubtful_at is None or now < max(doubtful_at, self._counted_at) + RIVAL_WITHIN:
            return [note]
        # This one alone is silent as long as two would have been given.
        self._counted_at = now
        verdict = recovery.strike(f"it was silent, and no other session could be opened ({reason})", now)
        return [note, *(self._serving.safety_net(verdict) if isinstance(verdict, GiveUp) else [])]

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
        # Another session of the same account is under the same limit.
        is_of_use = retry_after is None or self._parts.agent.has_second_model
        return [note, *(self._doubt(reason, now) if verdict.beside and is_of_use else [])]

    # Who speaks first.

    def rival_speaks(self, now: float) -> list[Command]:
        """The rival speaks first: it goes on with the call."""
        if self._parts.recovery.beside is not Beside.RIVAL or not self._serving.is_there:
            return []
        self._serving.counts()
        why = f"Another model session spoke first, and goes on with the call instead of the doubtful one ({self._why})"
        note = Note(logging.WARNING, why)
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
        if is_due(self._rival_overdue_at(), now):
            return [*commands, *self._neither_spoke(now)]
        if self._is_doubtful(now):
            if parts.ending.is_said:  # only the end of the response is missing
                return [*commands, *(parts.leave(now) if parts.speech.words_end_at <= now else [])]
            silent = "it is silent, and does not answer" if parts.liveness.is_mute(now) else "it is silent"
            commands += self._doubt(silent, now)
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
            note = Note(
                logging.WARNING,
                f"Another model session goes on with the call instead of the doubtful one ({self._why})",
            )
            return [note, parts.memory.loss(), *self._serving.take_over(now)]
        silenced: list[Command] = []
        if parts.speech.words_end_at > now:  # what was said before is still heard
            if not parts.audio.unheard:
                return []
            silenced, _ = parts.speech.cut_off(now)  # the caller speaks over it, and the doubtful model does not hear
            parts.floor.is_spoken_over(now)
        return [*silenced, *self._serving.prime(now)]

    def deadlines(self) -> list[float | None]:
        """When to look again."""
        waits = [self._ask_at(), self._rival_overdue_at()]
        if self._parts.recovery.beside is Beside.NONE and (doubtful_at := self._doubtful_at()) is not None:
            heard_at = self._parts.speech.words_end_at if self._parts.ending.is_said else 0.0  # see `see_to_the_model`
            waits.append(max(doubtful_at, self._not_before, heard_at))
        return waits

    def _doubt(self, why: str, now: float) -> list[Command]:
        if self._parts.recovery.beside is not Beside.NONE:
            if self._is_for_pause:  # no pause will come: it is needed now
                self._is_for_pause = False
                self._why = why
            return []
        if now < self._not_before:
            return []
        self._parts.recovery.opens_beside()
        self._is_for_pause = False
        self._why = why
        note = Note(logging.WARNING, f"The model is doubtful ({why}): another session is opened beside it")
        return [note, *self._serving.open(0.0, beside=True)]

    def _neither_spoke(self, now: float) -> list[Command]:
        """Neither of two sessions spoke. One that does not even answer, or that hears a silent caller speak, is given
        up; otherwise the newer one is."""
        parts = self._parts
        is_owed = parts.floor.owes_surely
        if parts.liveness.is_mute(now) or parts.floor.caller_speaks:
            return [*self.rival_speaks(now), *(self.failed("two sessions were silent", now) if is_owed else [])]
        if not is_owed:  # there was nothing to say
            return self.spoke()
        return self.rival_failed("neither of the two spoke", now)

    def _rival_overdue_at(self) -> float | None:
        """When to stop waiting for either of two sessions to speak: both are given the time, and only where one may."""
        floor, at = self._parts.floor, self._parts.recovery.rival_overdue_at()
        if at is None:
            return None
        since = self._parts.audio.heard_until if floor.caller_speaks else floor.since if floor.owes else 0.0
        return max(at, since + RIVAL_WITHIN)

    def _ask_at(self) -> float | None:
        parts = self._parts
        audio = parts.audio
        is_clear = audio.unheard or parts.floor.caller_speaks  # otherwise it may be a soft voice
        return parts.liveness.ask_at(
            is_its_turn=parts.floor.awaits_model,
            unheard=is_clear or audio.may_be_words,
            caller_since=audio.loud_since if is_clear else audio.sound_since,
            caller_until=audio.loud_until if is_clear else audio.sound_until,
        )

    def _doubtful_at(self) -> float | None:
        parts = self._parts
        owed_since: float | None = None
        if parts.floor.awaits_model:
            owed_since = max(parts.floor.since, parts.floor.not_before, parts.speech.words_end_at)
        elif parts.floor.caller_speaks:
            owed_since = parts.audio.sound_until + PAUSE_IN_SPEECH
        return parts.liveness.doubtful_at(owed_since)

    def _is_doubtful(self, now: float) -> bool:
        return is_due(self._doubtful_at(), now)


def is_due(at: float | None, now: float) -> bool:
    """Whether a deadline has come. None: there is none."""
    return at is not None and now >= at
