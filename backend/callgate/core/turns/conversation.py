"""One call's conversation: whose turn it is, what is said next, when it ends. Pure: no I/O, no clock, no logging.

All state that turn-taking depends on lives in `Conversation` and the ten objects it holds (what was heard, what was
said, how patient to be, how long the call may last, how long the model's session may last, which keys were pressed,
which tools were called, which response is in progress, what the caller said that is unanswered, when to tell the caller
that the agent will go on), and nothing else may change it. It is told everything that happens to a call, with the time,
and answers with the commands to carry out, in order:

    Twilio's messages, the model's events, the passing of time  ->  Conversation  ->  [Command, …]

What happens a hundred times a second has a shortcut that creates no objects: `caller_audio` and `agent_audio` are told
of a piece of audio and say whether to forward it; `mark_returned` is told of a mark.

The sequence of events in a usual call:

    (start)            -> OpenModel                                            OPENING
    model_ready        -> AdoptModel, response.create (the greeting), the audio kept so far   TALKING
    media              -> input_audio_buffer.append
    audio deltas       -> media, and a mark about every 500 ms
    speech_started     -> clear, conversation.item.truncate at what was heard
    a function call    -> CallTool; tool_done: its output; once all are done: response.create
    hang_up called     -> nothing more; when the last mark has come back: End  LEAVING
    stop               -> End                                                  ENDED

And in less usual ones: a model that is lost, or does not answer a liveness check, is replaced by another, which is told
what was said (DropModel, OpenModel, and in RECOVERING a clip for the caller). A session whose hour is nearly over is
replaced in a pause, without a clip.

Waits have deadlines here too: `deadline` says when `tick` must be called if nothing else happens.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from enum import Enum
from typing import Final

from callgate.core.absences import NEVER_AWAY, Absences
from callgate.core.agent import Agent
from callgate.core.foreign import name_or_length
from callgate.core.protocols.realtime import (
    ALREADY_RESPONDING,
    SESSION_EXPIRED,
    AddFunctionOutput,
    AddUserText,
    AgentTranscript,
    AppendAudio,
    AskAlive,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    ClientEvent,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    Other,
    RemoteCallBegan,
    RemoteCallEnded,
    RemoteToolsMissing,
    ResponseCreated,
    ResponseDone,
    ServerEvent,
    SessionCreated,
    SessionUpdated,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
    TruncateItem,
)
from callgate.core.units import SECONDS
from callgate.core.wire.media_stream import (
    Clear,
    Connected,
    Dtmf,
    FromTwilio,
    Mark,
    Media,
    Start,
    Stop,
    Unknown,
    payload_bytes,
)
from callgate.errors import MediaStreamError

from .briefing import COME_BACK, GO_ON, RETURN, told
from .comfort import Comfort
from .commands import AdoptModel, Command, DropModel, End, Note, OpenModel, Outcome, Said
from .heard_clock import HeardClock
from .keypad import Keypad
from .limits import Limits, Step
from .liveness import PAUSE, Patience
from .loudness import is_loud
from .responses import Responses
from .session_life import LOSSES, Successor, Tenure
from .tool_desk import LOST, OVERDUE, ToolDesk
from .transcript import Role, Transcript, Turn
from .unanswered import Unanswered

CALLER_DEADLINE = 15 * SECONDS  # without a message from Twilio, which sends fifty a second
PLAYED_DEADLINE = 3 * SECONDS  # for the last mark, after the audio before it should have been played
# How often to check what follows from the caller's audio, which is not checked with each piece of it. What follows
# first is the liveness check, after `ASK_AFTER`, which is later than the next look.
LOOK_EVERY = 0.5 * SECONDS
LOOK_AT_MOST_EVERY = 0.02 * SECONDS
RECORD_EVERY = 1 * SECONDS  # how often to record how much of the agent's speech was heard
LAST_WORDS_DEADLINE = 20 * SECONDS  # for a goodbye that a limit demands


class Phase(Enum):
    OPENING = "the first model is not there yet; the caller's audio is kept"
    TALKING = "both sides may speak"
    RECOVERING = "the model was lost and another is being opened; the caller's audio is kept"
    LEAVING = "the agent's last word is said; the line closes when the caller has heard it"
    ENDED = "nothing more is done"


# Used for every message; compiled, a module constant saves a look-up.
_TALKING: Final = Phase.TALKING
_ENDED: Final = Phase.ENDED


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
        self.phase = Phase.OPENING
        self.interruptions = 0
        self.reconnects = 0
        self._stream_sid = start.stream_sid
        self._agent = agent
        self._heard = HeardClock()
        self._transcript = Transcript(memory or ())
        self._patience = Patience(now)
        self._limits = Limits(agent.idle, agent.longest, now, now - lasted)
        self._tenure = Tenure(now)
        self._keypad = Keypad()
        self._desk = ToolDesk(agent.toolbox, absences)
        self._unanswered = Unanswered()
        self._responses = Responses()
        self._comfort = Comfort(now)
        self._last_from_twilio = now
        self._first_word: str | None = None  # what the model is asked to say first when it is ready
        if memory is not None:
            self._first_word = RETURN if absences.back else COME_BACK
        self._greeted = memory is not None
        self._notes = 0  # how many the model was told; used to name them
        self._told: set[str] = set()  # the turns that the model being opened has been told
        self._looked_at = now  # when the deadlines were last checked
        self._recorded: str | None = None  # the item whose progress is being recorded
        self._recorded_at = now  # when that was last recorded
        self._goodbye_wanted = False  # what the agent says next is its last word
        self._audio_of: dict[str, int] = {}  # bytes of each item being spoken
        self._of_others: set[str] = set()  # those of them that came from an earlier model session
        self._leave_until: float | None = None

    # Events of the call. Each method returns the commands to carry out.

    def begin(self) -> list[Command]:
        """The call's ``start`` arrived: open the model."""
        return [self._open_model(0.0)]

    def model_ready(self, now: float) -> list[Command]:
        """The session being opened is ready: configured, and told what was said."""
        if self.phase is Phase.TALKING:
            if self._tenure.successor is Successor.NONE:
                return []
            self._tenure.successor = Successor.READY
            return self._roll_over(now)
        if self.phase not in (Phase.OPENING, Phase.RECOVERING):
            return []
        self.phase = Phase.TALKING
        self._tenure.began(now)
        commands: list[Command] = [AdoptModel(), *self._tell_the_rest(), *self._forget_session(now)]
        if not self._greeted or (not self._is_unanswered and self._owes_a_word):
            commands += self._take_the_word(now)  # otherwise it answers what it hears in the audio by itself
        return commands + self._hand_over(now)

    def model_unavailable(self, reason: str, now: float, *, fatal: bool) -> list[Command]:
        """The session could not be opened. ``fatal``: retrying can't help."""
        if self.phase is Phase.TALKING:  # a rollover failed: the present session goes on until the next pause
            self._tenure.no_successor(now)
            return [Note(logging.WARNING, f"The model's next session could not be opened: {reason}")]
        if self.phase not in (Phase.OPENING, Phase.RECOVERING):
            return []
        after = None if fatal else self._tenure.not_opened()
        if after is None:
            return self.fail(reason)
        return [
            Note(logging.WARNING, f"No model session ({reason}): trying again"),
            self._open_model(after),
        ]

    def model_lost(self, reason: str, now: float, *, to_blame: bool = True) -> list[Command]:
        """The model's session ended without our doing. ``to_blame``: another server is tried first."""
        if self.phase is Phase.LEAVING or (self.phase is Phase.TALKING and self._desk.farewell is not None):
            return [DropModel(), *self._leave(now)]
        if self.phase is not Phase.TALKING:
            return []
        if self._tenure.lost(now):
            return self.fail(f"{LOSSES} model sessions were lost within a minute; the last: {reason}")
        self.phase = Phase.RECOVERING
        self.reconnects += 1
        self._patience.owes = self._patience.owes or self._responses.under_way
        self._patience.caller_speaks = self._unanswered.committed = False
        self._responses.lost()
        self._comfort.is_due_at_once(now)
        return [
            Note(logging.WARNING, f"The model's session was lost ({reason}): opening another"),
            Said(
                Turn(self._name("loss", self.reconnects), Role.NOTE, "[The model was lost here, and another went on.]")
            ),
            DropModel(reason if to_blame else ""),
            *self._last_mark(),
            self._open_model(0.0),
            *self._give_comfort(now),
        ]

    def caller_audio(self, audio: bytes, now: float) -> bool:
        """A piece of the caller's audio arrived, base64 µ-law. Return whether to forward it to the model; otherwise it
        is kept."""
        if self.phase is _ENDED:
            return False
        self._last_from_twilio = now
        self._patience.caller_heard(is_loud(audio), now)
        talks = self.phase is _TALKING
        self._unanswered.keep(audio, whole=not talks or self._is_unanswered)
        return talks or self.phase is Phase.LEAVING

    def agent_audio(self, response_id: str, item_id: str, size: int, now: float) -> str | None:
        """``size`` bytes of the agent's audio arrived. Return None if the caller must not hear them; otherwise forward
        them to Twilio unchanged, followed by a mark with the returned name, or by none if that is ""."""
        if self.phase is _ENDED:
            return None
        self._patience.model_heard(now)
        if self._responses.is_cut_off(response_id) or self.phase is not _TALKING:
            return None
        self._responses.retried = False
        self._greeted = True
        self._first_word = None
        self._unanswered.repeated = False
        self._audio_of[item_id] = self._audio_of.get(item_id, 0) + size
        return self._heard.sent(item_id, size, now)

    def mark_returned(self, name: str, now: float) -> list[Command]:
        """Twilio has played everything that it was sent before this mark, or was told to clear it."""
        if self.phase is _ENDED:
            return []
        self._last_from_twilio = now
        self._heard.mark_returned(name, now)
        return self._progress(now) + self._leave_if_heard(now)

    def twilio_sent(self, message: FromTwilio, now: float) -> list[Command]:
        """Twilio sent a message. Raises `MediaStreamError` if it can't come now or belongs to another stream."""
        if self.phase is _ENDED:
            return []
        self._last_from_twilio = now
        if isinstance(message, Start | Connected):
            raise MediaStreamError(31951, f"a second {type(message).__name__.lower()} came on the stream")
        if isinstance(message, Unknown):
            return [Note(logging.DEBUG, f"Twilio sent {name_or_length(message.event)}, which is not acted on")]
        if message.stream_sid != self._stream_sid:
            other = name_or_length(message.stream_sid)
            raise MediaStreamError(31951, f"a message for another stream came on this one: {other}")
        match message:
            case Media():
                return [AppendAudio(message.payload)] if self.caller_audio(message.payload.encode(), now) else []
            case Mark():
                return self.mark_returned(message.name, now)
            case Dtmf():
                return self._key_pressed(message.digit, now)
            case Stop():
                return self._end(Outcome.CALLER_HUNG_UP, "Twilio stopped the stream")

    def model_sent(self, event: ServerEvent, now: float) -> list[Command]:
        """The model sent an event."""
        if self.phase is Phase.ENDED:
            return []
        if self._patience.model_heard(now) and isinstance(event, SessionUpdated):
            return self._nothing_found(now)
        match event:
            case AudioDelta():
                return self._agent_audio(event, now)
            case AudioDone() if self._responses.is_unheard(event.response_id):
                return [TruncateItem(event.item_id, 0), Said(self._transcript.cut(event.item_id, 0))]
            case AudioDone():
                self._comfort.spoken()
                self._desk.announced = True
                self._heard.item_complete(event.item_id)
                return [*self._last_mark(), *self._spoken(event.item_id)]
            case SpeechStarted():
                return self._caller_speaks(now)
            case SpeechStopped():
                self._patience.caller_speaks = self._unanswered.repeated = False
                self._responses.caller_stopped()
                self._owe(now)
            case SpeechCommitted():
                self._unanswered.committed = True
                return [Said(self._transcript.caller_spoke(event.item_id))]
            case CallerTranscript():
                return [Said(self._transcript.caller_said(event.item_id, event.text))]
            case AgentTranscript(complete=False):
                self._transcript.agent_writes(event.item_id, event.text)
            case AgentTranscript():
                return [Said(self._transcript.agent_wrote(event.item_id, event.text))]
            case ResponseCreated():
                self._response_began(event.response_id, now)
            case ResponseDone():
                return self._response_done(event, now)
            case FunctionCall():
                return self._function_asked(event, now)
            case RemoteToolsMissing() | RemoteCallBegan() | RemoteCallEnded():
                self._comfort.waits_from(now)
                return [*self._desk.remote(event, now), *self._answer_tools(now)]
            case ErrorEvent():
                return self._model_error(event, now)
            case SessionCreated() | SessionUpdated() | Other():
                pass
        return []

    def tool_done(self, call_id: str, output: str, now: float) -> list[Command]:
        """The result of a tool that was called (`CallTool`, `TakeMessage`): JSON or other text."""
        answer = self._desk.done(call_id, output)
        if answer is None or self.phase is Phase.ENDED:
            return []
        commands: list[Command] = [self._noted(answer.noted)]
        if self.phase is Phase.TALKING:  # a session being opened is told this note along with all others
            told: ClientEvent = AddFunctionOutput(call_id, output) if answer.knows else AddUserText(answer.text)
            commands.insert(0, told)
        return [*commands, *self._answer_tools(now), *self._leave_if_heard(now)]

    def tick(self, now: float) -> list[Command]:
        """Time has passed: do what is due."""
        self._looked_at = now
        if self.phase is _ENDED:
            return []
        if _is_due(self._last_from_twilio + CALLER_DEADLINE, now):
            return self._end(Outcome.STREAM_LOST, f"Twilio sent nothing for {CALLER_DEADLINE:.0f} s")
        if _is_due(self._leave_until, now):
            return self._depart(", and was not heard to the end in time")
        commands: list[Command] = []
        if _is_due(self._keypad.due_at, now):
            commands += self._tell_keys(now)
        if self.phase is _TALKING:
            commands += self._see_to_the_model(now)
        if self.phase is _TALKING:
            if (overdue := self._desk.overdue(now)) is not None:
                commands += [overdue, *self._tell(OVERDUE), *self._answer_tools(now)]
            commands += self._keep_to_limits(now)
            commands += self._roll_over(now)
        return commands + self._give_comfort(now)

    def deadline(self) -> float:
        """When to call `tick` if nothing happens before."""
        waits = [self._last_from_twilio + CALLER_DEADLINE, self._keypad.due_at, self._leave_until, self._comfort_due()]
        if self.phase is _TALKING:
            waits += [self._patience.ask_at(), self._patience.gone_at()]
        if self.phase in (_TALKING, Phase.RECOVERING):
            waits.append(self._looked_at + LOOK_EVERY)
        return max(min(at for at in waits if at is not None), self._looked_at + LOOK_AT_MOST_EVERY)

    def fail(self, reason: str) -> list[Command]:
        """An error occurred that the call can't go on after."""
        return self._end(Outcome.FAILED, reason)

    def stream_lost(self, reason: str) -> list[Command]:
        """Twilio's socket closed without a ``stop``."""
        return self._end(Outcome.STREAM_LOST, reason)

    def shut_down(self) -> list[Command]:
        """The service has to stop now."""
        return self._end(Outcome.SHUT_DOWN, "the service is stopping")

    # The caller.

    def _caller_speaks(self, now: float) -> list[Command]:
        if self.phase is not Phase.TALKING or self._desk.farewell is not None:  # the last word is not interrupted
            return []
        self._patience.noticed()
        self._unanswered.spoken = True
        self._limits.caller_spoke()
        if self._desk.answers_are_due:  # the answer to what the caller says covers the tools' results too
            self._desk.answered()
        if self._unanswered.repeated:  # audio from before, replayed to a new model, interrupts nobody
            return []
        self._patience.owes = False
        self._responses.caller_speaks()
        self._comfort.spoken()
        commands, heard_ms = self._silence_agent(now)
        if heard_ms is not None:
            self.interruptions += 1
            commands.append(Note(logging.INFO, f"Caller spoke over the agent, who was heard for {heard_ms} ms"))
        return commands

    def _silence_agent(self, now: float) -> tuple[list[Command], int | None]:
        """Stop the agent's speech. The second value is how many ms of what it was saying were heard; None: it was
        saying nothing."""
        commands: list[Command] = []
        if not self._heard.all_returned:
            commands.append(Clear(self._stream_sid))
        self._responses.cut_off()
        cuts = [cut for cut in self._heard.interrupt(now) if cut.item_id in self._audio_of]
        for cut in cuts:
            if cut.item_id not in self._of_others:
                commands.append(TruncateItem(cut.item_id, cut.heard_ms))
            self._transcript.agent_spoke(cut.item_id, self._audio_of[cut.item_id])
            commands.append(Said(self._transcript.cut(cut.item_id, cut.heard_ms)))
        self._audio_of.clear()
        self._recorded = None
        return commands, cuts[0].heard_ms if cuts else None

    def _key_pressed(self, digit: str, now: float) -> list[Command]:
        if self.phase is Phase.LEAVING:
            return []
        self._limits.caller_spoke()
        if self._keypad.due_at is None and self._desk.binds(digit):  # not part of an entry
            return self._key_asked(digit, now)
        is_entry = self._keypad.pressed(digit, now)
        return self._tell_keys(now) if is_entry and self.phase is Phase.TALKING else []

    def _tell_keys(self, now: float) -> list[Command]:
        if self.phase in (Phase.OPENING, Phase.RECOVERING):  # keys pressed before the agent can be told are kept
            self._keypad.wait(now)
            return []
        keys = self._keypad.take()
        if not keys or self.phase is not Phase.TALKING:
            return []
        note = f"[The caller pressed these keys on the telephone: {keys}]"
        if self._patience.caller_speaks:  # the answer to what they say covers the keys too
            return self._tell(note)
        return [*self._tell(note), *self._want_response(CreateResponse(), now)]

    def _key_asked(self, key: str, now: float) -> list[Command]:
        """A key calls a tool. If the tool ends the call, it ends in the middle of a sentence."""
        commands, note, is_refused = self._desk.pressed(key)
        self._comfort.waits_from(now)
        if is_refused and self.phase is Phase.TALKING:
            return [*commands, *self._tell(note), *self._answer_tools(now)]
        if self._desk.farewell is None:
            return [*commands, self._noted(note)]
        silenced, _ = self._silence_agent(now)
        return [*commands, self._noted(note), *silenced, *self._depart(f", as the caller pressed {key}")]

    def _tell(self, note: str) -> list[Command]:
        """Tell the model something besides what is said."""
        return [AddUserText(note), self._noted(note)]

    def _noted(self, note: str) -> Said:
        self._notes += 1
        return Said(self._transcript.noted(self._name("note", self._notes), note))

    def _name(self, kind: str, number: int) -> str:
        """Name a turn of our own, different from those of any earlier stream of the call."""
        return f"{self._stream_sid}_{kind}_{number}"

    # The agent.

    def _take_the_word(self, now: float) -> list[Command]:
        """Ask a new model to speak: to greet, or to go on."""
        if self._greeted:
            words = self._first_word or GO_ON
        else:
            words = f"Greet the caller now. Say exactly this, and nothing else: {json.dumps(self._agent.greeting)}"
        return self._want_response(CreateResponse(words), now)

    def _hand_over(self, now: float) -> list[Command]:
        """Give a new model the caller's audio that was kept."""
        if self._is_unanswered:
            self._owe(now)
        audio = self._unanswered.hand_over(self._is_unanswered)
        return [AppendAudio(piece.decode()) for piece in audio]

    def _nothing_found(self, now: float) -> list[Command]:
        """The model is alive. If it was handed audio and noticed no speech in it, ask it to speak."""
        if not self._unanswered.repeated or self._patience.caller_speaks:
            return []
        self._unanswered.answered()
        return self._take_the_word(now) if self._patience.owes and not self._responses.is_busy else []

    @property
    def _owes_a_word(self) -> bool:
        """Whether a new model has something to say before the caller speaks."""
        return self._patience.owes or self._first_word is not None or self._desk.answers_are_due

    def _forget_session(self, now: float) -> list[Command]:
        """What was said and requested so far belongs to another session, which will send no more of it. Return what to
        tell the new session about that."""
        self._responses.session_replaced()
        self._patience.replaced(now)
        self._of_others = set(self._audio_of)
        for item_id in self._of_others:
            self._heard.item_complete(item_id)
        return self._tell(LOST) if self._desk.session_replaced() else []

    def _agent_audio(self, event: AudioDelta, now: float) -> list[Command]:
        try:
            size = payload_bytes(event.delta)
        except MediaStreamError:
            return self.model_lost("the model sent audio that is not base64", now)
        if not size or (mark := self.agent_audio(event.response_id, event.item_id, size, now)) is None:
            return []
        media = Media(self._stream_sid, event.delta)
        return [media, Mark(self._stream_sid, mark)] if mark else [media]

    def _last_mark(self) -> list[Command]:
        """Send a mark after all audio sent so far, unless there is one already."""
        name = self._heard.mark()
        return [Mark(self._stream_sid, name)] if name else []

    def _spoken(self, item_id: str) -> list[Command]:
        """All audio of an item has arrived."""
        return [Said(self._transcript.agent_spoke(item_id, size))] if (size := self._audio_of.get(item_id)) else []

    def _progress(self, now: float) -> list[Command]:
        """Record now and then how much was heard of the agent's item that is playing."""
        playing = self._heard.playing(now)
        commands: list[Command] = []
        if self._recorded is not None and playing != self._recorded:
            commands += self._spoken(self._recorded)  # it was heard to the end
            self._recorded = None
        if playing is None or now < self._recorded_at + RECORD_EVERY or playing not in self._audio_of:
            return commands
        self._recorded, self._recorded_at = playing, now
        turn = self._transcript.agent_spoke(playing, self._audio_of[playing])
        return [*commands, Said(replace(turn, heard_ms=self._heard.heard_ms(playing, now)))]

    def _want_response(self, response: CreateResponse, now: float) -> list[Command]:
        if not self._responses.ask(response):
            return []
        if self._goodbye_wanted:
            self._desk.say_goodbye()
        if self._greeted or response.instructions is None:  # a greeting answers nothing
            self._desk.answered()
        self._owe(now)
        return [response]

    def _response_began(self, response_id: str, now: float) -> None:
        self._desk.announced = False
        if not self._responses.began(response_id):
            return
        if self._unanswered.committed:  # this answers what the caller said
            self._unanswered.answered()
        self._owe(now)

    def _response_done(self, event: ResponseDone, now: float) -> list[Command]:
        self._responses.done(event.response_id)
        if not self._responses.is_cut_off(event.response_id):  # otherwise the answer to the interruption is still owed
            self._patience.owes = self._responses.asked_for
        elif self._unanswered.committed and event.status != "cancelled":
            # … and that answer does not begin by itself after a response that was not cancelled.
            self._patience.owes, self._desk.owes_answer = False, True
        if self._desk.farewell is not None:
            return self._leave(now)
        if event.status == "failed":
            return self._response_failed(event, now)
        if event.status == "completed":
            self._responses.retried = False
        return self._go_on(now)

    def _go_on(self, now: float) -> list[Command]:
        """A response is done: decide what is said next."""
        if self._patience.caller_speaks and not self._goodbye_wanted:
            self._responses.wanted = None  # the answer to what they say will cover all that was told
        if (wanted := self._responses.wanted) and not self._patience.owes:
            return self._want_response(wanted, now)
        return self._answer_tools(now)

    def _response_failed(self, event: ResponseDone, now: float) -> list[Command]:
        why = event.why
        if ErrorEvent(event.error_code or "", "").ends_session:
            return self._no_more_of_it(f"the model's response failed ({why})", now)
        if self._responses.is_cut_off(event.response_id):
            return self._go_on(now)
        if self._responses.retried:
            return self.fail(f"the model's response failed ({why})")
        self._responses.retried = True
        note = Note(logging.WARNING, f"The model's response failed ({why}); asking once more")
        if self._first_word is not None or not self._greeted:
            return [note, *self._take_the_word(now)]
        self._desk.owes_answer = True  # once the results of all its calls are there
        return [note, *self._go_on(now)]

    def _function_asked(self, event: FunctionCall, now: float) -> list[Command]:
        if self.phase is not Phase.TALKING:
            return []
        commands, told = self._desk.asked(event.call_id, event.name, event.arguments)
        self._comfort.waits_from(now)
        return commands if told is None else [*commands, AddFunctionOutput(event.call_id, told)]

    def _answer_tools(self, now: float) -> list[Command]:
        """Have the model go on with the results of its tools, once all are there."""
        if not self._desk.answers_are_due or self.phase is not Phase.TALKING or self._desk.farewell is not None:
            return []
        if self._patience.caller_speaks:  # it will answer the results together with what they say
            self._desk.answered()
            return []
        if self._patience.owes or self._responses.is_busy:
            return []  # this response may not know of the results; when it is done, this is checked again
        return self._want_response(CreateResponse(), now)

    def _model_error(self, event: ErrorEvent, now: float) -> list[Command]:
        if event.code == SESSION_EXPIRED:
            return self.model_lost(event.why, now, to_blame=False)
        if event.ends_session:
            return self._no_more_of_it(f"the model reported {event.why}", now)
        self._responses.refused()
        if event.code == ALREADY_RESPONDING:  # what we wanted said is requested when that response is done
            self._desk.owes_answer = True
        level = logging.DEBUG if event.benign else logging.WARNING
        return [Note(level, f"The model reported {event.why}")]

    # The model itself.

    def _owe(self, now: float) -> None:
        self._patience.owes_from(now)
        self._comfort.waits_from(now)

    def _no_more_of_it(self, reason: str, now: float) -> list[Command]:
        """This model is of no more use: turn to another, if there is one."""
        return self.model_lost(reason, now) if self._agent.has_second_model else self.fail(reason)

    def _see_to_the_model(self, now: float) -> list[Command]:
        """Check whether a silent model is alive; give it up if it is not, or if it does not say what it owes."""
        if _is_due(self._patience.gone_at(), now):
            return self.model_lost("it owed an answer and gave none", now)
        if _is_due(self._patience.ask_at(), now):
            self._patience.asked(now)
            return [AskAlive()]
        return []

    def _comfort_due(self) -> float | None:
        """When to tell a caller who waits for the agent that it will go on."""
        waits = self.phase is Phase.OPENING or self._patience.owes or self._desk.waits
        waits = waits or (self.phase is Phase.RECOVERING and self._is_unanswered)
        if not waits or self.phase in (Phase.LEAVING, Phase.ENDED):
            return None
        return self._comfort.due_at(self._heard.ends_at, self._patience.last_loud)

    def _give_comfort(self, now: float) -> list[Command]:
        if not _is_due(self._comfort_due(), now) or not self._agent.one_moment:
            return []
        name = self._comfort.played()
        mark = self._heard.sent(name, payload_bytes(self._agent.one_moment), now)
        self._heard.item_complete(name)
        return [Media(self._stream_sid, self._agent.one_moment), Mark(self._stream_sid, mark)]

    @property
    def _is_unanswered(self) -> bool:
        """Whether the caller has said something that the model has not begun to answer."""
        return self._unanswered.spoken or self._patience.unheard

    def _quiet_since(self) -> float | None:
        """When both fell silent; None: one of them is speaking, or is about to."""
        if self._patience.owes or self._patience.caller_speaks or self._responses.under_way or self._desk.waits:
            return None
        return max(self._heard.ends_at, self._patience.last_loud)

    def _roll_over(self, now: float) -> list[Command]:
        """In a pause, replace a model whose hour is nearly over by one that knows what was said."""
        if not self._tenure.is_ending(now):
            return []
        if self._tenure.is_over(now):
            return self.model_lost("its hour is nearly over, and there was no pause", now, to_blame=False)
        quiet_since = self._quiet_since()
        if quiet_since is None or now < quiet_since + PAUSE:
            return []
        if self._tenure.successor is Successor.NONE:
            self._tenure.successor = Successor.OPENING
            return [self._open_model(0.0)]
        if self._tenure.successor is Successor.OPENING:
            return []
        self._tenure.began(now)
        return [
            Note(logging.INFO, "The model's hour is coming to its end: another goes on with the call"),
            AdoptModel(),
            *self._tell_the_rest(),
            *self._forget_session(now),
        ]

    def _open_model(self, after: float) -> OpenModel:
        history = self._transcript.history()
        self._told = {turn.item_id for turn in history}
        return OpenModel(after, history)

    def _tell_the_rest(self) -> list[ClientEvent]:
        """What was said since the model was told about the conversation."""
        return told(turn for turn in self._transcript.history() if turn.item_id not in self._told)

    def _keep_to_limits(self, now: float) -> list[Command]:
        step = self._limits.step(self._quiet_since(), now)
        if step is None:
            return []
        commands = [Note(logging.INFO, f"The model is told: {step.value}"), *self._tell(step.value)]
        if step is Step.WARN:
            return commands
        if step.ends_call:
            self._goodbye_wanted = True
            self._leave_until = now + LAST_WORDS_DEADLINE
        return [*commands, *self._want_response(CreateResponse(), now)]

    # The end.

    def _leave(self, now: float) -> list[Command]:
        self.phase = Phase.LEAVING
        self._leave_until = max(now, self._heard.ends_at) + PLAYED_DEADLINE
        return [*self._last_mark(), *self._leave_if_heard(now)]

    def _leave_if_heard(self, now: float) -> list[Command]:
        if self.phase is not Phase.LEAVING or not self._heard.all_returned or self._desk.waits:
            return []
        return self._depart(", and was heard to the end")

    def _depart(self, how: str) -> list[Command]:
        """The agent leaves, in the way it chose. ``how``: for the log."""
        self.phase = Phase.ENDED
        return [self._desk.ending(how)]

    def _end(self, outcome: Outcome, reason: str) -> list[Command]:
        if self.phase is Phase.ENDED:
            return []
        self.phase = Phase.ENDED
        return [End(outcome, reason)]


def _is_due(at: float | None, now: float) -> bool:
    return at is not None and now >= at
