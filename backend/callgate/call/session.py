"""One live call: the two sockets, the deadlines, and the conversation that says what to do.

    Twilio's socket ──▶ conversation ──▶ outbox ──▶ the model's socket
    Twilio's socket ◀── outbox ◀── conversation ◀── the model's socket

Both sockets push what they receive, and what it leads to is sent in the same callback. Audio, which is nearly all of
it, is cut out of one frame and put into the other; every other message is parsed, and handed to the conversation as a
value. Whichever side ends first, `run` returns how the call ended, with both sockets closed and no task left.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from collections.abc import Awaitable, Callable, Iterable

from callgate.core.agent import Agent
from callgate.core.foreign import foreign
from callgate.core.prices import usage_of
from callgate.core.protocols import realtime_json
from callgate.core.protocols.realtime import AppendAudio, ResponseDone
from callgate.core.protocols.realtime_fast import DeltaCutter, append_frame
from callgate.core.receipt import Counters, Receipt
from callgate.core.tools.toolbox import NEVER_AWAY, Absences
from callgate.core.turns.commands import (
    AdoptModel,
    CallTool,
    Command,
    DropModel,
    End,
    NextStep,
    Note,
    OpenModel,
    Outcome,
    Said,
    TakeMessage,
)
from callgate.core.turns.conversation import Conversation
from callgate.core.turns.transcript import Turn
from callgate.core.wire.base64_text import decoded_bytes, joined
from callgate.core.wire.media_stream import FRAME_SECONDS, PLAYBACK_LIMIT_BYTES, Clear, Mark, Media, Start
from callgate.core.wire.media_stream_fast import MediaCutter, MediaWriter, mark_frame
from callgate.core.wire.media_stream_json import encode_to_twilio, parse_from_twilio
from callgate.errors import MediaStreamError, RealtimeError, UpstreamError, UpstreamRefused
from callgate.models.socket import ModelSocket
from callgate.tools.runner import KeepMessage, RunTool, ToolRunner, no_store, no_tool
from callgate.websocket.sockets import Socket

from .outbox import Outbox

log = logging.getLogger(__name__)

SECONDS = 1.0
WRITE_DEADLINE = 10 * SECONDS  # for a socket that is full to take something
LATE = 0.1 * SECONDS  # a deadline met this late is judged after what lay waiting has been read
TO_MODEL_LIMIT = 4 * 1024 * 1024  # bytes: far more than the longest instructions
CALLER_AUDIO_LIMIT = 250 * 280  # bytes: about five seconds of the caller's audio, for a model that stalls
TO_TWILIO_LIMIT = PLAYBACK_LIMIT_BYTES * 4 // 3  # base64 of the ten minutes that Twilio would buffer

# Opens a session of the model's that knows these turns, or finds one. Raises `UpstreamError`.
Open = Callable[[tuple[Turn, ...]], Awaitable[ModelSocket]]


class Session:
    """A call between its ``start`` and its end. It receives from both sockets.

    ``record``: who is told of each turn as it happens. ``at_end``: of what the call was, and what is to come next,
    before Twilio's socket is closed. ``at_failure``: of a model's session that failed, and at what. ``run_tool``,
    ``keep_message``: see `ToolRunner`. ``memory``: what was said before the call was cut off, which it was ``resumes``
    times, or before the agent left it (``absences``); None for a call that begins. ``lasted``: seconds that the call
    had lasted by then.
    """

    def __init__(
        self,
        start: Start,
        twilio: Socket,
        open_model: Open,
        agent: Agent,
        *,
        record: Callable[[Turn], None] = lambda turn: None,
        at_end: Callable[[Receipt, NextStep | None], None] = lambda receipt, then: None,
        at_failure: Callable[[ModelSocket, str], None] = lambda model, reason: None,
        run_tool: RunTool = no_tool,
        keep_message: KeepMessage = no_store,
        memory: tuple[Turn, ...] | None = None,
        resumes: int = 0,
        absences: Absences = NEVER_AWAY,
        lasted: float = 0.0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._now: Callable[[], float] = self._loop.time  # looked up once
        self._counters = Counters(self._now(), resumes=resumes)
        self._conversation = Conversation(start, agent, self._now(), memory, absences, lasted)
        self._agent = agent
        self._record = record
        self._at_end = at_end
        self._at_failure = at_failure
        self._stream_sid = start.stream_sid
        self._twilio = twilio
        self._open_model = open_model
        self._model: ModelSocket | None = None  # the call's
        self._next: ModelSocket | None = None  # ready to become the call's
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._tools = ToolRunner(run_tool, keep_message, self._tool_done)
        self._cutter = MediaCutter(start.stream_sid)
        self._media = MediaWriter(start.stream_sid)
        self._deltas = DeltaCutter()
        self._caller_audio: list[bytes] = []  # base64 µ-law, cut from the messages of one batch
        self._to_twilio = Outbox(TO_TWILIO_LIMIT)
        self._to_model = Outbox(TO_MODEL_LIMIT, CALLER_AUDIO_LIMIT)
        self._stalls: dict[str, asyncio.TimerHandle] = {}  # until when a full socket must have taken something
        self._ended: asyncio.Future[End] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf  # when it goes off, or the first message after that
        self._context = contextvars.copy_context()  # the one that names the call, which the sockets' callbacks lack

    @property
    def ending(self) -> End | None:
        """How the call ended, as soon as that is decided; its sockets are closed after that."""
        decided = self._ended.done() and not self._ended.cancelled()
        return self._ended.result() if decided else None

    async def run(self) -> Receipt:
        """Serve the call to its end, and say what it was and how it ended."""
        self._to_twilio.open(self._twilio.send_text, self._twilio.send_texts)
        self._do(self._conversation.begin())
        failure: BaseException | None = None
        receipt: Receipt | None = None
        # No `finally`: where mypyc has compiled this, an exception that is on its way while we wait would be seen by
        # every other task.
        try:
            receipt = self._finish(await self._ended)
        except BaseException as exc:
            failure = exc
        self._forget_timers()
        await self._leave_models()
        await self._tools.close()
        if receipt is None:
            assert failure is not None
            raise failure
        return receipt

    def _finish(self, end: End) -> Receipt:
        """The call is over: have it recorded, and tell Twilio."""
        try:
            receipt = self._receipt(end)
            # Before Twilio hears of it, which then asks within milliseconds what comes next, maybe another process.
            self._at_end(receipt, end.then)
        finally:
            # Before waiting for the model's side: until this, the caller hears nothing.
            self._twilio.close(_close_code(end.outcome), end.outcome.value)
        return receipt

    def _receipt(self, end: End) -> Receipt:
        if self._to_model.dropped:
            log.warning("%d frames of the caller's audio were dropped: the model stalled", self._to_model.dropped)
        counters = self._counters
        counters.frames_dropped = self._to_model.dropped
        counters.interruptions = self._conversation.interruptions
        counters.reconnects = self._conversation.reconnects
        return counters.receipt(now=self._now(), ended=end.outcome, reason=end.reason)

    def shut_down(self) -> None:
        """The service is stopping: end the call now."""
        self._do(self._conversation.shut_down())

    # Twilio's side (`callgate.websocket.sockets.Receiver`).

    def text_received(self, message: bytes) -> None:
        audio = self._cutter.cut(message)
        if audio is not None:
            now = self._now()
            self._counters.frames_in += 1
            if self._conversation.caller_audio(audio, now):
                self._caller_audio.append(audio)
            if now >= self._due:
                self._tick(self._due)
        else:
            self.batch_received()
            if (mark := self._cutter.cut_mark(message)) is None:
                self._twilio_sent(message.decode())
            elif commands := self._conversation.mark_returned(mark, self._now()):
                self._do(commands)

    def binary_received(self, message: bytes) -> None:
        self._twilio_sent(message)

    def batch_received(self) -> None:
        """Send on what came at once as one: what has been waiting is not made to wait longer."""
        if waiting := self._caller_audio:
            audio = waiting[0] if len(waiting) == 1 else joined(waiting)
            waiting.clear()
            self._to_model.put(append_frame(audio), droppable=True)

    def pause_writing(self) -> None:
        self._to_twilio.pause()
        why = f"Twilio took no frame for {WRITE_DEADLINE:.0f} s"
        self._stalled("Twilio", lambda: self._conversation.stream_lost(why))

    def resume_writing(self) -> None:
        self._taken("Twilio")
        self._to_twilio.resume()

    def connection_closed(self, code: int, reason: str) -> None:
        told = f"{code} {foreign(reason)}".rstrip()
        self._do(self._conversation.stream_lost(f"the media stream's socket was closed without a stop: {told}"))

    def _twilio_sent(self, message: str | bytes) -> None:
        try:
            parsed = parse_from_twilio(message)
            self._counters.frames_in += isinstance(parsed, Media)
            self._do(self._conversation.twilio_sent(parsed, self._now()))
        except MediaStreamError as exc:
            self._do(self._conversation.fail(f"Twilio's side of the stream broke the protocol: {exc}"))

    # The model's side (`callgate.models.upstream.ModelReceiver`).

    async def _open_next(self, wanted: OpenModel) -> None:
        await asyncio.sleep(wanted.after)
        if self._next is not None:  # a session that was ready for a pause which did not come
            self._close_later(self._next)
            self._next = None
        try:
            model = await self._open_model(wanted.history)
        except Exception as exc:
            if self._opening is asyncio.current_task():
                self._do(self._not_opened(exc))
            else:
                why = f": {exc}" if isinstance(exc, UpstreamError) else ""  # whose text quotes nothing that was said
                log.debug("The opening of a model session that was given up ended: %s%s", type(exc).__name__, why)
            return
        if self._opening is asyncio.current_task():
            self._next = model
            self._do(self._conversation.model_ready(self._now()))
        else:  # it came in the moment in which it was given up
            self._close_later(model)

    def _not_opened(self, exc: Exception) -> list[Command]:
        if isinstance(exc, UpstreamError):
            fatal = isinstance(exc, UpstreamRefused)
            return self._conversation.model_unavailable(str(exc), self._now(), fatal=fatal)
        log.error("Unexpected error while a model session was opened", exc_info=exc)
        return self._conversation.fail("no model session could be opened, by a fault of ours")

    def _open(self, wanted: OpenModel) -> None:
        """Begin to open a session; one that is being opened knows less, and is given up."""
        before = self._opening
        if before is not None and not before.done() and before is not asyncio.current_task():
            before.cancel()
            self._closing.add(before)
            before.add_done_callback(self._closing.discard)
        self._opening = asyncio.create_task(self._open_next(wanted), context=self._context.copy())

    def _adopt(self) -> None:
        """The session that is ready becomes the call's."""
        assert self._next is not None
        self._drop()
        model, self._next = self._next, None
        self._model = model
        self._counters.served_by(model.endpoint.model)
        self._to_model.open(model.send)
        self._loop.call_soon(self._listen_to, model)  # behind what it is to be told first

    def _listen_to(self, model: ModelSocket) -> None:
        if model is self._model:
            model.adopt(self)

    def _drop(self) -> None:
        """The call's session is not the call's any more."""
        self._to_model.shut()
        self._taken("model")
        if self._model is not None:
            self._close_later(self._model)
            self._model = None

    def _close_later(self, model: ModelSocket) -> None:
        model.release()
        closing = asyncio.create_task(model.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _leave_models(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait((self._opening,))
        for model in (self._model, self._next):
            if model is not None:
                self._close_later(model)
        while self._closing:  # an opening that is given up may have one more to close
            await asyncio.wait(self._closing)

    def model_sent(self, frame: bytes) -> None:
        deltas = self._deltas
        if (audio := deltas.cut(frame)) is None:
            self._model_event(frame)
            return
        size = decoded_bytes(audio)
        now = self._now()
        mark = self._conversation.agent_audio(deltas.response_id, deltas.item_id, size, now)
        if mark is None:
            return
        self._counters.agent_audio_sent(now)
        media = self._media.frame(audio)
        if mark:
            self._to_twilio.put_both(media, mark_frame(self._stream_sid, mark))
        else:
            self._to_twilio.put(media)
        if self._to_twilio.full:
            self._do(())

    def model_lost(self, reason: str) -> None:
        self._do(self._conversation.model_lost(reason, self._now()))

    def model_is_full(self) -> None:
        self._to_model.pause()
        why = f"the model took no frame for {WRITE_DEADLINE:.0f} s"
        self._stalled("model", lambda: self._conversation.model_lost(why, self._now()))

    def model_takes_more(self) -> None:
        self._taken("model")
        self._to_model.resume()

    def _model_event(self, frame: bytes) -> None:
        try:
            event = realtime_json.parse(frame.decode(errors="replace"))
        except RealtimeError as exc:
            self._do(self._conversation.model_lost(str(exc), self._now()))
        else:
            if isinstance(event, ResponseDone) and self._model is not None:
                self._counters.spent(self._model.endpoint.model, usage_of(event.usage))
            self._do(self._conversation.model_sent(event, self._now()))

    def _tool_done(self, call_id: str, output: str) -> None:
        self._do(self._conversation.tool_done(call_id, output, self._now()))

    # The conversation's side.

    def _do(self, commands: Iterable[Command]) -> None:
        """Carry out what the conversation says, in order."""
        for command in commands:
            match command:
                case Media() | Mark():
                    if isinstance(command, Media) and command.payload is not self._agent.one_moment:
                        self._counters.agent_audio_sent(self._now())
                    self._to_twilio.put(encode_to_twilio(command).encode())
                case Clear():
                    self._to_twilio.clear()  # what has not been sent need not be cleared there
                    self._to_twilio.put(encode_to_twilio(command).encode())
                case Note():
                    self._context.run(log.log, command.level, command.text)
                case End():
                    if not self._ended.done():
                        self._ended.set_result(command)
                case OpenModel():
                    self._open(command)
                case AdoptModel():
                    self._adopt()
                case DropModel():
                    if command.reason and self._model is not None:
                        self._at_failure(self._model, command.reason)
                    self._drop()
                case Said():
                    self._record(command.turn)
                case CallTool() | TakeMessage():
                    self._tools.start(command, self._context.copy())
                case AppendAudio():
                    self._to_model.put(append_frame(command.audio.encode()), droppable=True)
                case _:
                    self._to_model.put(realtime_json.encode(command).encode())
        if self._to_twilio.full:
            self._to_twilio.clear()
            self._do(self._conversation.stream_lost("more than ten minutes of audio wait for Twilio"))
        elif self._to_model.full:
            self._to_model.clear()
            why = "it takes no more of what must be sent to it"
            self._do(self._conversation.model_lost(why, self._now()))
        if not self._ended.done():
            self._arm()

    # Time.

    def _arm(self) -> None:
        """Have `_tick` called at the conversation's deadline, unless an earlier call of it is under way."""
        at = self._conversation.deadline()
        if self._timer is not None and at >= self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = at
        # As a rule a message of Twilio's comes before that, and nobody has to be woken for it.
        self._timer = self._loop.call_at(at + FRAME_SECONDS, self._tick, at)

    def _tick(self, due: float) -> None:
        now = self._now()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = math.inf
        if now - due > LATE:  # the loop was busy: what it has not read yet may be what is waited for
            self._due = now + LATE / 2
            self._timer = self._loop.call_at(self._due, self._tick, self._due)
            return
        self._do(self._conversation.tick(now))

    def _stalled(self, who: str, then: Callable[[], Iterable[Command]]) -> None:
        if who not in self._stalls:
            self._stalls[who] = self._loop.call_later(WRITE_DEADLINE, lambda: self._do(then()))

    def _taken(self, who: str) -> None:
        if (timer := self._stalls.pop(who, None)) is not None:
            timer.cancel()

    def _forget_timers(self) -> None:
        for timer in (self._timer, *self._stalls.values()):
            if timer is not None:
                timer.cancel()


def _close_code(outcome: Outcome) -> int:
    """The WebSocket close code (RFC 6455 §7.4.1) that tells Twilio how the stream ended."""
    match outcome:
        case Outcome.SHUT_DOWN:
            return 1001
        case Outcome.FAILED:
            return 1011
    return 1000
