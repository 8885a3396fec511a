"""The model session that serves a call, and how another one takes over. Pure."""

from __future__ import annotations

from enum import Enum

from callgate.core.protocols.realtime import AppendAudio, ClientEvent

from .call_parts import CallParts
from .commands import AdoptModel, Command, PrimeModel
from .floor_table import Debt
from .recovery import GiveUp
from .session_life import SessionLife
from .tool_desk import LOST


class Phase(Enum):
    OPENING = "the first model is not there yet; the caller's audio is kept"
    TALKING = "both sides may speak"
    RECOVERING = "the model was lost and another is being opened; the caller's audio is kept"
    LEAVING = "the agent's last word is said; the line closes when the caller has heard it"
    ENDED = "nothing more is done"


class Serving:
    """The session that serves one call. ``is_there``: whether there is one."""

    def __init__(self, parts: CallParts, now: float) -> None:
        self.phase = Phase.OPENING
        self.is_there = False
        self.reconnects = 0
        self.life = SessionLife(now)
        self._parts = parts
        self._answered_within = 0.0  # how long the session that is ready took to confirm its configuration
        self._rival_is_asked = False  # for a response; otherwise it answers the caller's words by itself

    # Opening.

    def open(self, after: float, *, beside: bool = False) -> list[Command]:
        """Open a session after so many seconds. ``beside``: while another serves the call."""
        words = self._words_are_kept()
        speech, memory = self._parts.speech, self._parts.memory
        return [
            *speech.so_far(), memory.open_model(after, speech.unconfirmed(), words_are_kept=words, beside=beside)
        ]  # fmt: skip

    def is_ready(self, answered_within: float) -> None:
        """The session that was opened is ready."""
        self._answered_within = answered_within

    def prime(self, now: float) -> list[Command]:
        """Tell the session that is ready everything, so that it may speak while another still serves the call."""
        parts = self._parts
        has_words = parts.audio.spoken or parts.floor.caller_speaks  # as far as a model has heard
        recorded = parts.speech.so_far()
        events: list[ClientEvent] = parts.memory.the_rest(words_are_kept=self._words_are_kept())
        self._rival_is_asked = not has_words and parts.floor.owes_surely
        if self._rival_is_asked:  # if it hears words nevertheless, it answers them instead
            events.append(parts.floor.request_of_rival(parts.first_word.instructions))
        events += [AppendAudio(piece.decode()) for piece in parts.audio.kept()]
        parts.memory.primed()
        parts.recovery.is_rival(now)
        return [*recorded, PrimeModel(tuple(events))]

    # Taking over.

    def take_over(self, now: float) -> list[Command]:
        """The session that is ready takes over. It was told nothing since it was opened."""
        parts = self._parts
        words = self._words_are_kept()
        commands: list[Command] = [*parts.speech.so_far(), AdoptModel()]
        commands += parts.memory.the_rest(words_are_kept=words)
        # A greeting is asked for even if the caller has spoken before it.
        commands += self._serve(now, words and parts.first_word.is_said)
        parts.memory.taken_over(words_are_kept=words)
        audio = parts.audio.hand_over(now)
        return [*commands, *self.ask(now), *(AppendAudio(piece.decode()) for piece in audio)]

    def adopt_rival(self, now: float) -> list[Command]:
        """The session that was primed takes over. It was told everything, and may have begun to answer it."""
        parts = self._parts
        commands: list[Command] = [*parts.speech.so_far(), AdoptModel()]
        commands += parts.memory.rival_takes_over()
        commands += self._serve(now, not self._rival_is_asked)
        parts.audio.is_given_again(now)
        if self._rival_is_asked:
            parts.floor.was_asked_before(now)
        return commands

    def is_gone(self) -> None:
        """No session serves the call."""
        self.phase = Phase.RECOVERING
        self.is_there = False

    def counts(self) -> None:
        """Another session takes over from one that has failed."""
        self.reconnects += 1

    # What follows.

    def ask(self, now: float) -> list[Command]:
        """Ask for what the agent has to say, if it is the time."""
        parts = self._parts
        if not self.is_there or parts.ending.is_over or parts.ending.is_leaving:
            return []
        if not parts.floor.may_ask(now, tools_are_open=parts.desk.waits):
            return []
        if not parts.floor.owes_for(Debt.FIRST_WORD):
            return [parts.floor.ask(None, now)]
        return [parts.floor.ask(parts.first_word.instructions, now, greets=not parts.first_word.is_said)]

    def safety_net(self, verdict: GiveUp) -> list[Command]:
        """Everything was tried."""
        return [*self._parts.ending.safety_net(verdict.tried)]

    def _words_are_kept(self) -> bool:
        return self._parts.audio.is_unanswered or self._parts.floor.caller_speaks

    def _serve(self, now: float, is_given_words: bool) -> list[Command]:
        """Another session serves the call, and knows nothing of what the last one was asked for. Return what to tell
        it."""
        parts = self._parts
        self.phase = Phase.TALKING
        self.is_there = True
        self.life.began(now)
        parts.recovery.serves()
        parts.liveness.began(now, self._answered_within)
        parts.speech.session_replaced()
        parts.audio.taken_over()
        # Whoever was told to wait is told that it goes on.
        if parts.first_word.is_open or (parts.comfort.is_promise and not parts.desk.waits):
            parts.floor.wants(Debt.FIRST_WORD, now)
        commands = parts.tell(LOST) if parts.desk.session_replaced() else []
        if commands:
            parts.floor.wants(Debt.RESULTS, now)
        parts.floor.replaced(now, is_given_words=is_given_words, may_be_noise=not parts.audio.spoken)
        if parts.floor.owes:
            parts.comfort.waits_from(now)
        return commands
