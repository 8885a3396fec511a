"""One call's conversation: whose turn it is, what is said next, when it ends. Pure: no I/O, no clock, no logging.

All state that turn-taking depends on lives in `Conversation`, and nothing else may change it. Whatever happens to a
call is told to it, with the time; it answers with the commands to carry out, in order:

    Twilio's messages, the model's events, the passing of time  ->  Conversation  ->  [Command, …]

What comes a hundred times a second has a short way beside it, which makes no values: `caller_audio` and `agent_audio`
are told of a piece of audio, and say whether it goes to the other side.

The order of things, for the usual call:

    model_connected    -> session.update                                      OPENING
    session.updated    -> response.create (the greeting), the audio kept so far   TALKING
    media              -> input_audio_buffer.append
    audio deltas       -> media, and a mark about every 200 ms
    speech_started     -> clear, conversation.item.truncate at what was heard
    hang_up asked      -> nothing more; when the last mark has come back: End     LEAVING
    stop               -> End                                                  ENDED

A wait has a deadline here too: `deadline` says when `tick` must be called if nothing else happens.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from dataclasses import dataclass
from enum import Enum

from .errors import MediaStreamError
from .heard_clock import HeardClock
from .media_stream import (
    Clear,
    Connected,
    Dtmf,
    FromApp,
    FromTwilio,
    Mark,
    Media,
    Start,
    Stop,
    Unknown,
    payload_bytes,
)
from .realtime import (
    ALREADY_RESPONDING,
    AddFunctionOutput,
    AddUserText,
    AppendAudio,
    AudioDelta,
    AudioDone,
    ClientEvent,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    Other,
    ResponseCreated,
    ResponseDone,
    ServerEvent,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Tool,
    TruncateItem,
    UpdateSession,
)

SECONDS = 1.0

OPENING_DEADLINE = 5 * SECONDS  # from session.update to session.updated
MODEL_DEADLINE = 8 * SECONDS  # without an event while the model owes the caller an answer
CALLER_DEADLINE = 15 * SECONDS  # without a message from Twilio, which sends fifty a second
PLAYED_DEADLINE = 3 * SECONDS  # for the last mark, after the audio before it must have been played
KEYS_TOGETHER = 1.5 * SECONDS  # keys pressed closer together than this are one entry
KEPT_FRAMES = 250  # media messages of the caller's that are kept while the session opens: 5 s
MAX_KEYS = 64

HANG_UP = Tool(
    name="hang_up",
    description="End the telephone call. Say goodbye first, in the same turn: the line closes when it has been heard.",
    parameters={"type": "object", "properties": {}, "additionalProperties": False},
)


class Phase(Enum):
    OPENING = "the model has not yet confirmed the session; the caller's audio is kept"
    TALKING = "both sides may speak"
    LEAVING = "the agent said goodbye; the line closes when the caller has heard it"
    ENDED = "nothing more is done"


class Outcome(Enum):
    """How a call ended, which decides what the caller meets next."""

    CALLER_HUNG_UP = "the caller hung up"
    GOODBYE = "the agent hung up"
    FAILED = "the call failed"
    STREAM_LOST = "the media stream was lost"
    SHUT_DOWN = "the service is stopping"


@dataclass(frozen=True, slots=True)
class End:
    """Close both sockets. ``reason``: one line for the log."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something the operator should be able to read. ``level``: as in `logging`."""

    level: int
    text: str


Command = FromApp | ClientEvent | Note | End


@dataclass(frozen=True, slots=True)
class Agent:
    """Who speaks for us."""

    instructions: str
    voice: str
    greeting: str


def opening(agent: Agent) -> UpdateSession:
    """What makes a new session of the model's this agent."""
    return UpdateSession(agent.instructions, agent.voice, (HANG_UP,))


class Conversation:
    """The state of one call, from Twilio's ``start`` to the end."""

    def __init__(self, start: Start, agent: Agent, now: float) -> None:
        self.phase = Phase.OPENING
        self._stream_sid = start.stream_sid
        self._agent = agent
        self._heard = HeardClock()
        self._kept: deque[str] = deque(maxlen=KEPT_FRAMES)  # the caller's audio while OPENING
        self._last_from_twilio = now
        self._opening_until: float | None = None  # when session.updated must have come
        self._answer_until: float | None = None  # when the model, which owes an answer, must have sent something
        self._response: str | None = None  # the response under way
        self._cut_off: str | None = None  # the response whose late deltas the caller must not hear
        self._response_wanted = False  # create one as soon as that under way is done
        self._retried = False  # the last response failed and was asked for again
        self._keys = ""  # pressed, not yet told to the model
        self._keys_until: float | None = None
        self._hang_up_asked = False
        self._leave_until: float | None = None

    # What happens to the call. Each returns what to do.

    def model_connected(self, now: float, *, configured: bool = False) -> list[Command]:
        """The socket to the model is open. ``configured``: the agent's `opening` was sent on it before."""
        self._opening_until = now + OPENING_DEADLINE
        return [] if configured else [opening(self._agent)]

    def caller_audio(self, now: float) -> bool:
        """A piece of the caller's audio came. True: it goes to the model as it is. False: `twilio_sent` decides."""
        if self.phase is not Phase.TALKING and self.phase is not Phase.LEAVING:
            return False
        self._last_from_twilio = now
        return True

    def agent_audio(self, response_id: str, item_id: str, size: int, now: float) -> str | None:
        """``size`` bytes of the agent's audio came. None: the caller must not hear them. Else they go to Twilio as they
        are, and behind them, where one is due, the mark of the name that is returned.
        """
        if self.phase is Phase.ENDED:
            return None
        if self._answer_until is not None:
            self._answer_until = now + MODEL_DEADLINE
        if response_id == self._cut_off or self.phase is Phase.OPENING:
            return None
        self._retried = False
        return self._heard.sent(item_id, size, now)

    def twilio_sent(self, message: FromTwilio, now: float) -> list[Command]:
        """Twilio sent a message. Raises `MediaStreamError` for one that can't come now or is another stream's."""
        if self.phase is Phase.ENDED:
            return []
        self._last_from_twilio = now
        if isinstance(message, Start | Connected):
            raise MediaStreamError(31951, f"a second {type(message).__name__.lower()} came on the stream")
        if isinstance(message, Unknown):
            return [Note(logging.DEBUG, f"Twilio sent {message.event!r}, which is not acted on")]
        if message.stream_sid != self._stream_sid:
            raise MediaStreamError(31951, f"a message for another stream came on this one: {message.stream_sid!r}")
        match message:
            case Media():
                return self._caller_audio(message)
            case Mark():
                self._heard.mark_returned(message.name, now)
                return self._leave_if_heard(now)
            case Dtmf():
                return self._key_pressed(message.digit, now)
            case Stop():
                return self._end(Outcome.CALLER_HUNG_UP, "Twilio stopped the stream")

    def model_sent(self, event: ServerEvent, now: float) -> list[Command]:
        """The model sent an event."""
        if self.phase is Phase.ENDED:
            return []
        if self._answer_until is not None:
            self._answer_until = now + MODEL_DEADLINE
        match event:
            case AudioDelta():
                return self._agent_audio(event, now)
            case AudioDone():
                self._heard.item_complete(event.item_id)
                return self._last_mark()
            case SpeechStarted():
                return self._caller_speaks(now)
            case SpeechStopped():
                self._answer_until = now + MODEL_DEADLINE
            case ResponseCreated():
                self._response = event.response_id
                self._answer_until = now + MODEL_DEADLINE
            case ResponseDone():
                return self._response_done(event, now)
            case FunctionCall():
                return self._function_asked(event)
            case SessionUpdated():
                return self._session_updated(event, now)
            case ErrorEvent():
                return self._model_error(event)
            case SessionCreated() | Other():
                pass
        return []

    def tick(self, now: float) -> list[Command]:
        """Time has passed: do what is due."""
        if self.phase is Phase.ENDED:
            return []
        if _is_due(self._opening_until, now):
            return self._fail(f"the model did not confirm the session within {OPENING_DEADLINE:.0f} s")
        if _is_due(self._answer_until, now):
            return self._fail(f"the model owed the caller an answer and sent nothing for {MODEL_DEADLINE:.0f} s")
        if _is_due(self._last_from_twilio + CALLER_DEADLINE, now):
            return self._end(Outcome.STREAM_LOST, f"Twilio sent nothing for {CALLER_DEADLINE:.0f} s")
        if _is_due(self._leave_until, now):
            return self._end(Outcome.GOODBYE, "the agent hung up; the last mark did not come back")
        return self._tell_keys(now) if _is_due(self._keys_until, now) else []

    def deadline(self) -> float:
        """When `tick` is to be called, if nothing happens before."""
        waits = (self._opening_until, self._answer_until, self._keys_until, self._leave_until)
        return min([self._last_from_twilio + CALLER_DEADLINE, *(at for at in waits if at is not None)])

    def fail(self, reason: str) -> list[Command]:
        """Something outside went wrong that the call can't go on without."""
        return self._fail(reason)

    def stream_lost(self, reason: str) -> list[Command]:
        """Twilio's socket is gone without a ``stop``."""
        return self._end(Outcome.STREAM_LOST, reason)

    def shut_down(self) -> list[Command]:
        """The service has to stop now."""
        return self._end(Outcome.SHUT_DOWN, "the service is stopping")

    # The caller.

    def _caller_audio(self, media: Media) -> list[Command]:
        if self.phase is Phase.OPENING:
            self._kept.append(media.payload)
            return []
        return [AppendAudio(media.payload)]

    def _caller_speaks(self, now: float) -> list[Command]:
        if self.phase is not Phase.TALKING or self._hang_up_asked:  # the last word is heard to its end
            return []
        commands: list[Command] = []
        if not self._heard.all_returned:
            commands.append(Clear(self._stream_sid))
        self._cut_off = self._response
        cuts = self._heard.interrupt(now)
        commands += [TruncateItem(cut.item_id, cut.heard_ms) for cut in cuts]
        if cuts:
            commands.append(Note(logging.INFO, f"Caller spoke over the agent, who was heard for {cuts[0].heard_ms} ms"))
        return commands

    def _key_pressed(self, digit: str, now: float) -> list[Command]:
        if self.phase is Phase.LEAVING:
            return []
        if len(self._keys) < MAX_KEYS:
            self._keys += digit
        self._keys_until = now + KEYS_TOGETHER
        return self._tell_keys(now) if digit == "#" and self.phase is Phase.TALKING else []

    def _tell_keys(self, now: float) -> list[Command]:
        if self.phase is Phase.OPENING:  # keys pressed before the agent can be told wait for it
            self._keys_until = now + KEYS_TOGETHER
            return []
        keys, self._keys, self._keys_until = self._keys, "", None
        if not keys or self.phase is not Phase.TALKING:
            return []
        told: list[Command] = [AddUserText(f"[The caller pressed these keys on the telephone: {keys}]")]
        return told + self._want_response(now)

    # The agent.

    def _session_updated(self, event: SessionUpdated, now: float) -> list[Command]:
        if self.phase is not Phase.OPENING:
            return []
        if (event.input_format, event.output_format) != ("audio/pcmu", "audio/pcmu"):
            return self._fail(
                "the model confirmed the session with other audio than audio/pcmu, which callers would hear as noise: "
                f"input {event.input_format}, output {event.output_format}"
            )
        self.phase = Phase.TALKING
        self._opening_until = None
        greet = f"Greet the caller now. Say exactly this, and nothing else: {json.dumps(self._agent.greeting)}"
        commands: list[Command] = [CreateResponse(greet)]
        self._answer_until = now + MODEL_DEADLINE
        commands += [AppendAudio(payload) for payload in self._kept]
        self._kept.clear()
        return commands

    def _agent_audio(self, event: AudioDelta, now: float) -> list[Command]:
        try:
            size = payload_bytes(event.delta)
        except MediaStreamError:
            return self._fail("the model sent audio that is not base64")
        if not size or (mark := self.agent_audio(event.response_id, event.item_id, size, now)) is None:
            return []
        media = Media(self._stream_sid, event.delta)
        return [media, Mark(self._stream_sid, mark)] if mark else [media]

    def _last_mark(self) -> list[Command]:
        """A mark behind all that was sent, if there is none yet."""
        name = self._heard.mark()
        return [Mark(self._stream_sid, name)] if name else []

    def _want_response(self, now: float) -> list[Command]:
        if self._response is not None:
            self._response_wanted = True
            return []
        self._response_wanted = False
        self._answer_until = now + MODEL_DEADLINE
        return [CreateResponse()]

    def _response_done(self, event: ResponseDone, now: float) -> list[Command]:
        if event.response_id == self._response:
            self._response = None
        self._answer_until = None
        if self._hang_up_asked:
            return self._leave(now)
        if event.status == "failed":
            return self._response_failed(event, now)
        return self._want_response(now) if self._response_wanted else []

    def _response_failed(self, event: ResponseDone, now: float) -> list[Command]:
        why = f"{event.error_code or 'no code'}: {event.error_message or 'no message'}"
        if self._retried or ErrorEvent(event.error_code or "", "").ends_session:
            return self._fail(f"the model's response failed ({why})")
        self._retried = True
        return [
            Note(logging.WARNING, f"The model's response failed ({why}); asking once more"),
            *self._want_response(now),
        ]

    def _function_asked(self, event: FunctionCall) -> list[Command]:
        if event.name == HANG_UP.name:
            self._hang_up_asked = True
            return [AddFunctionOutput(event.call_id, '{"ok":true}')]
        self._response_wanted = True
        return [
            Note(logging.WARNING, f"The model asked for a function that does not exist: {event.name!r}"),
            AddFunctionOutput(event.call_id, '{"error":"there is no such function"}'),
        ]

    def _model_error(self, event: ErrorEvent) -> list[Command]:
        if event.ends_session or self.phase is Phase.OPENING:
            return self._fail(f"the model reported {event.code}: {event.message}")
        if event.code == ALREADY_RESPONDING:  # what we wanted said is said when that response is done
            self._response_wanted = True
        level = logging.DEBUG if event.benign else logging.WARNING
        return [Note(level, f"The model reported {event.code}: {event.message}")]

    # The end.

    def _leave(self, now: float) -> list[Command]:
        self.phase = Phase.LEAVING
        self._leave_until = self._heard.silent_at(now) + PLAYED_DEADLINE
        return [*self._last_mark(), *self._leave_if_heard(now)]

    def _leave_if_heard(self, now: float) -> list[Command]:
        if self.phase is not Phase.LEAVING or not self._heard.all_returned:
            return []
        return self._end(Outcome.GOODBYE, "the agent hung up, and was heard to the end")

    def _fail(self, reason: str) -> list[Command]:
        return self._end(Outcome.FAILED, reason)

    def _end(self, outcome: Outcome, reason: str) -> list[Command]:
        if self.phase is Phase.ENDED:
            return []
        self.phase = Phase.ENDED
        return [End(outcome, reason)]


def _is_due(at: float | None, now: float) -> bool:
    return at is not None and now >= at
