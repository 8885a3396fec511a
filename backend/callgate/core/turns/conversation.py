"""One call's conversation: it is told everything that happens, and says what to do. Pure: no I/O, no clock, no logging.

    Twilio's messages, the model's events, the passing of time  ->  Conversation  ->  [Command, …]

It only dispatches. What is known is kept in the parts, each of which owns its state (`call_parts`); what follows from
an event is decided in these:

    answering     the model's events about turns: who speaks, what is heard, which tools are called
    succession    the model's sessions: which one serves the call, and which one takes over from it
    rivalry       what becomes of a session that is silent, or whose responses fail
    keys, clips   the caller's keys; the clip for a caller who waits

`floor_table` is the heart of it: whose turn it is.

What happens a hundred times a second has a shortcut that creates no objects: `caller_audio` and `agent_audio` are told
of a piece of audio and say whether to forward it; `mark_returned` is told of a mark.

`commands` shows the sequence of events in a usual call. Waits have deadlines here too: `deadline` says when `tick` must
be called if nothing else happens.
"""

from __future__ import annotations

import logging
from typing import Final

from callgate.core.absences import NEVER_AWAY, Absences
from callgate.core.agent import Agent
from callgate.core.foreign import name_or_length
from callgate.core.protocols.realtime import (
    AddFunctionOutput,
    AddUserText,
    AgentTranscript,
    AppendAudio,
    CallerTranscript,
    CallerTranscriptFailed,
    ClientEvent,
    ServerEvent,
)
from callgate.core.units import SECONDS
from callgate.core.wire.media_stream import (
    Connected,
    Dtmf,
    FromTwilio,
    Mark,
    Media,
    Start,
    Stop,
    Unknown,
)
from callgate.errors import MediaStreamError

from .answering import Answering
from .call_parts import CallParts
from .clips import Clips
from .commands import Command, Note
from .floor_table import Debt
from .keys import Keys
from .loudness import is_loud
from .recovery import Beside
from .rivalry import Rivalry, is_due
from .serving import Phase, Serving
from .succession import Succession
from .tool_desk import OVERDUE
from .transcript import Turn

CALLER_DEADLINE = 15 * SECONDS  # without a message from Twilio, which sends fifty a second
# How often to check what follows from audio, which is not checked with each piece of it.
LOOK_EVERY: Final = 0.2 * SECONDS
LOOK_AT_MOST_EVERY: Final = 0.02 * SECONDS
# What still counts when the agent has said its last word.
OF_THE_RECORD: Final = (AgentTranscript, CallerTranscript, CallerTranscriptFailed)


class Conversation:
    """The state of one call, from Twilio's ``start`` to the end. ``memory``: what was said before the call was cut off
    or the agent left it for a while; None for a new call. ``lasted``: how many seconds the call had lasted before."""

    def __init__(
        self,
        start: Start,
        agent: Agent,
        now: float,
        memory: tuple[Turn, ...] | None = None,
        absences: Absences = NEVER_AWAY,
        lasted: float = 0.0,
    ) -> None:
        self._parts = CallParts(start.stream_sid, agent, now, memory, absences, lasted)
        self._ending = self._parts.ending
        self._audio = self._parts.audio
        self._liveness = self._parts.liveness
        self._serving = Serving(self._parts, now)
        self._rivalry = Rivalry(self._parts, self._serving, now)
        self._succession = Succession(self._parts, self._serving, self._rivalry)
        self._answering = Answering(self._parts, self._succession, self._rivalry)
        self._keys = Keys(self._parts, self._serving)
        self._clips = Clips(self._parts, self._serving)
        self._last_from_twilio = now
        self._looked_at = now  # when the deadlines were last checked

    @property
    def phase(self) -> Phase:
        """Where the call stands."""
        if self._ending.is_over:
            return Phase.ENDED
        return Phase.LEAVING if self._ending.is_leaving else self._serving.phase

    @property
    def interruptions(self) -> int:
        """How often the caller spoke over the agent."""
        return self._answering.interruptions

    @property
    def reconnects(self) -> int:
        """How often another model session took over from one that had failed."""
        return self._serving.reconnects

    # The model's sessions.

    def begin(self) -> list[Command]:
        """The call's ``start`` arrived: open the model."""
        return self._succession.begin()

    def model_ready(self, now: float, answered_within: float = 0.0) -> list[Command]:
        """The session being opened is ready: configured, and told what was said. ``answered_within``: how many seconds
        it took to confirm its configuration."""
        if self._is_past():
            return []
        return self._then(self._succession.ready(now, answered_within), now)

    def model_unavailable(
        self, reason: str, now: float, *, fatal: bool, retry_after: float | None = None
    ) -> list[Command]:
        """The session could not be opened. ``fatal``: retrying can't help. ``retry_after``: how many seconds the server
        told us to wait."""
        if self._is_past():
            return []
        return self._succession.unavailable(reason, now, fatal=fatal, retry_after=retry_after)

    def model_lost(self, reason: str, now: float) -> list[Command]:
        """The model's session ended without our doing."""
        if self._ending.is_over:
            return []
        return self._then(self._succession.lost(reason, now), now) + self._clips.give(now)

    def rival_speaks(self, now: float) -> list[Command]:
        """The session that was primed speaks, or calls a tool."""
        if self._is_past():
            return []
        return self._then(self._rivalry.rival_speaks(now), now)

    def rival_failed(self, reason: str, now: float) -> list[Command]:
        """The session that was primed is lost, or its response failed."""
        if self._is_past():
            return []
        return self._then(self._rivalry.rival_failed(reason, now), now)

    # The two sides' audio and events. Each method returns the commands to carry out.

    def caller_audio(self, audio: bytes, now: float) -> bool:
        """A piece of the caller's audio arrived, base64 µ-law. Return whether to forward it to the model; otherwise it
        is kept."""
        if self._ending.is_over:
            return False
        self._last_from_twilio = now
        serves = self._serving.is_there
        whole = (
            not serves
            or self._audio.may_be_words
            or self._audio.is_unanswered
            or now < self._audio.given_until
            or self._is_in_doubt()
        )
        self._audio.keep(audio, now, is_loud=is_loud(audio), whole=whole)
        return serves

    def agent_audio(self, response_id: str, item_id: str, size: int, now: float, content_index: int = 0) -> str | None:
        """``size`` bytes of the agent's audio arrived. Return None if the caller must not hear them; otherwise forward
        them to Twilio unchanged, followed by a mark with the returned name, or by none if that is ""."""
        if self._is_past():
            return None
        self._liveness.heard(now)
        part = self._parts.speech.part(item_id, content_index) if content_index else item_id
        return self._answering.audio(response_id, part, size, now)

    def agent_spoke(self, now: float) -> list[Command]:
        """The caller hears audio that `agent_audio` was told of, while there is a session beside the one that serves
        the call."""
        return [] if self._is_past() else self._rivalry.spoke()

    def mark_returned(self, name: str, now: float) -> list[Command]:
        """Twilio has played everything that it was sent before this mark, or was told to clear it."""
        if self._ending.is_over:
            return []
        self._last_from_twilio = now
        self._parts.speech.mark_returned(name, now)
        return self._parts.speech.progress(now) + self._parts.leave_if_heard()

    def twilio_sent(self, message: FromTwilio, now: float) -> list[Command]:
        """Twilio sent a message. Raises `MediaStreamError` if it can't come now or belongs to another stream; it is
        then to be skipped."""
        if self._ending.is_over:
            return []
        self._last_from_twilio = now
        if isinstance(message, Start | Connected):
            raise MediaStreamError(31951, f"a second {type(message).__name__.lower()} came on the stream")
        if isinstance(message, Unknown):
            return [Note(logging.DEBUG, f"Twilio sent {name_or_length(message.event)}, which is not acted on")]
        if message.stream_sid != self._parts.stream_sid:
            other = name_or_length(message.stream_sid)
            raise MediaStreamError(31951, f"a message for another stream came on this one: {other}")
        match message:
            case Media():
                return [AppendAudio(message.payload)] if self.caller_audio(message.payload.encode(), now) else []
            case Mark():
                return self.mark_returned(message.name, now)
            case Dtmf():
                return self._then(self._keys.pressed(message.digit, now), now)
            case Stop():
                return [*self._ending.caller_left()]

    def model_sent(self, event: ServerEvent, now: float) -> list[Command]:
        """The session that serves the call sent an event."""
        if self._ending.is_over or (self._ending.is_leaving and not isinstance(event, OF_THE_RECORD)):
            return []
        self._liveness.heard(now)
        return self._then(self._answering.event(event, now), now)

    def tool_done(self, call_id: str, output: str, now: float) -> list[Command]:
        """The result of a tool that was called (`CallTool`, `TakeMessage`): JSON or other text."""
        answer = self._parts.desk.done(call_id, output)
        if answer is None or self._ending.is_over:
            return []
        commands: list[Command] = [self._parts.memory.note(answer.noted)]
        if self._serving.is_there:  # a session being opened is told this note along with all others
            told: ClientEvent = AddFunctionOutput(call_id, output) if answer.knows else AddUserText(answer.text)
            commands.insert(0, told)
        self._parts.floor.wants(Debt.RESULTS, now)
        return [*self._then(commands, now), *self._parts.leave_if_heard()]

    # Time.

    def tick(self, now: float) -> list[Command]:
        """Time has passed: do what is due."""
        self._looked_at = now
        if self._ending.is_over:
            return []
        if now >= self._last_from_twilio + CALLER_DEADLINE:
            return [*self._ending.stream_gone(f"Twilio sent nothing for {CALLER_DEADLINE:.0f} s")]
        if is_due(self._ending.due_at(), now):
            return [*self._ending.agent_leaves(", and was not heard to the end in time")]
        commands: list[Command] = []
        if is_due(self._keys.due_at, now):
            commands += self._then(self._keys.tell(now), now)
        if self._serving.is_there and not self._ending.is_leaving:
            commands += self._look(now)
        return commands + self._clips.give(now)

    def deadline(self) -> float:
        """When to call `tick` if nothing happens before."""
        waits = [
            self._last_from_twilio + CALLER_DEADLINE, self._keys.due_at, self._ending.due_at(), self._clips.due_at()
        ]  # fmt: skip
        if self._serving.is_there and not self._ending.is_leaving:
            parts = self._parts
            waits += [*self._rivalry.deadlines(), self._overdue_at(), parts.desk.overdue_at()]
            waits.append(parts.floor.ask_at(tools_are_open=parts.desk.waits))
        if not self._ending.is_leaving and self._serving.phase is not Phase.OPENING:
            waits.append(self._looked_at + LOOK_EVERY)
        return max(min(at for at in waits if at is not None), self._looked_at + LOOK_AT_MOST_EVERY)

    # Ends that are decided elsewhere.

    def stream_lost(self, reason: str) -> list[Command]:
        """Twilio's side of the stream is gone without a ``stop``."""
        return [*self._ending.stream_gone(reason)]

    def shut_down(self) -> list[Command]:
        """The service has to stop now."""
        return [*self._ending.service_stops()]

    # What is due.

    def _is_in_doubt(self) -> bool:
        """Whether the model that hears the caller may be none: then the next one has to hear the softest words."""
        return self._liveness.is_asked or self._parts.recovery.beside is not Beside.NONE

    def _is_past(self) -> bool:
        """Whether nothing of the model's matters any more."""
        return self._ending.is_over or self._ending.is_leaving

    def _then(self, commands: list[Command], now: float) -> list[Command]:
        """Add the request for what the agent has to say, if it can be made now."""
        return commands + self._serving.ask(now)

    def _look(self, now: float) -> list[Command]:
        parts = self._parts
        commands = self._rivalry.see_to_the_model(now)
        if self._ending.is_over or not self._serving.is_there:
            return commands
        if is_due(self._overdue_at(), now):
            parts.floor.overdue(now)
        if (overdue := parts.desk.overdue(now)) is not None:
            commands += [overdue, *parts.tell(OVERDUE)]
            parts.floor.wants(Debt.RESULTS, now)
        commands += parts.keep_to_limits(now)
        return self._then(commands + self._succession.roll_over(now), now)

    def _overdue_at(self) -> float | None:
        """When to ask for a response that the model has not begun: not while the caller is loud."""
        at = self._parts.floor.overdue_at()
        return None if at is None else max(at, self._audio.words_until + LOOK_EVERY)
