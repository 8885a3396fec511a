"""One live call: the two sockets, the deadlines, and the conversation that says what to do.

    Twilio's socket ──▶ conversation ──▶ outbox ──▶ the model's socket
    Twilio's socket ◀── outbox ◀── conversation ◀── the model's socket

Reading never waits for writing: what is to be sent waits in a bounded outbox. Whichever side ends first, `run` returns
how the call ended, with both sockets closed and no task left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from . import media_stream, realtime
from .conversation import Agent, Command, Conversation, End, Note, Outcome
from .errors import MediaStreamError, RealtimeError, UpstreamError
from .media_stream import Clear, Connected, Mark, Media, Start
from .outbox import Outbox
from .realtime import AppendAudio
from .upstream import ModelSocket, Upstream

log = logging.getLogger(__name__)

SECONDS = 1.0
START_DEADLINE = 5 * SECONDS  # from the upgrade to ``start``
WRITE_DEADLINE = 10 * SECONDS  # for one frame to be taken by a socket
TO_MODEL_LIMIT = 4 * 1024 * 1024  # characters: far more than the longest instructions
CALLER_AUDIO_LIMIT = 250 * 280  # characters: about five seconds of the caller's audio, for a model that stalls
TO_TWILIO_LIMIT = media_stream.PLAYBACK_LIMIT_BYTES * 4 // 3  # base64 of the ten minutes that Twilio would buffer


class StreamClosed(Exception):
    """Twilio's socket was closed by Twilio, or lost."""


class TwilioSocket(Protocol):
    """The Media Stream's socket, whatever serves it."""

    async def receive(self) -> str | bytes:
        """The next frame. Raises `StreamClosed`."""

    async def send(self, frame: str) -> None:
        """Send a frame; to a closed socket it does nothing."""

    async def close(self, code: int, reason: str) -> None:
        """Close it; a closed one stays as it is."""


async def read_start(socket: TwilioSocket) -> Start:
    """The stream's ``start``, with which it tells whose it is. Raises `MediaStreamError`, `StreamClosed`."""
    try:
        async with asyncio.timeout(START_DEADLINE):
            while True:
                message = media_stream.parse_from_twilio(await socket.receive())
                if isinstance(message, Start):
                    return message
                if not isinstance(message, Connected | media_stream.Unknown):
                    kind = type(message).__name__.lower()
                    raise MediaStreamError(media_stream.INVALID_MESSAGE, f"{kind} came before start")
    except TimeoutError:
        raise MediaStreamError(
            media_stream.INVALID_MESSAGE, f"no start came within {START_DEADLINE:.0f} s of the upgrade"
        ) from None


class Session:
    """A call between its ``start`` and its end."""

    def __init__(self, start: Start, twilio: TwilioSocket, upstream: Upstream, agent: Agent) -> None:
        self._loop = asyncio.get_running_loop()
        self._conversation = Conversation(start, agent, self._loop.time())
        self._twilio = twilio
        self._upstream = upstream
        self._to_twilio = Outbox(TO_TWILIO_LIMIT)
        self._to_model = Outbox(TO_MODEL_LIMIT, CALLER_AUDIO_LIMIT)
        self._ended: asyncio.Future[End] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> End:
        """Serve the call to its end, and say how it ended."""
        self._arm()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(part) for part in (self._read_twilio(), self._write_twilio(), self._model())]
                end = await self._ended
                for task in tasks:
                    task.cancel()
                # Before waiting for the model's side: until this, the caller hears nothing.
                await self._twilio.close(_close_code(end.outcome), end.outcome.value)
        finally:
            if self._timer is not None:
                self._timer.cancel()
        if self._to_model.dropped:
            log.warning("%d frames of the caller's audio were dropped: the model stalled", self._to_model.dropped)
        return end

    def stream_lost(self) -> None:
        """Twilio's socket is gone, and what it sent has been read."""
        self._do(self._conversation.stream_lost("the media stream's socket was closed without a stop"))

    def shut_down(self) -> None:
        """The service is stopping: end the call now."""
        self._do(self._conversation.shut_down())

    # Twilio's side.

    async def _read_twilio(self) -> None:
        try:
            while True:
                message = media_stream.parse_from_twilio(await self._twilio.receive())
                self._do(self._conversation.twilio_sent(message, self._loop.time()))
        except StreamClosed:
            self.stream_lost()
        except MediaStreamError as exc:
            self._do(self._conversation.fail(f"Twilio's side of the stream broke the protocol: {exc}"))

    async def _write_twilio(self) -> None:
        try:
            await self._to_twilio.write(self._twilio.send, WRITE_DEADLINE)
        except TimeoutError:
            self._do(self._conversation.stream_lost(f"Twilio took no frame for {WRITE_DEADLINE:.0f} s"))

    # The model's side.

    async def _model(self) -> None:
        try:
            model = await self._upstream.open()
        except UpstreamError as exc:
            self._do(self._conversation.fail(str(exc)))
            return
        try:
            self._do(self._conversation.model_connected(self._loop.time()))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write_model(model))
                await self._read_model(model)
        finally:
            await model.close()

    async def _read_model(self, model: ModelSocket) -> None:
        try:
            while True:
                event = realtime.parse(await model.receive())
                self._do(self._conversation.model_sent(event, self._loop.time()))
        except (UpstreamError, RealtimeError) as exc:
            self._do(self._conversation.fail(str(exc)))

    async def _write_model(self, model: ModelSocket) -> None:
        try:
            await self._to_model.write(model.send, WRITE_DEADLINE)
        except TimeoutError:
            self._do(self._conversation.fail(f"the model took no frame for {WRITE_DEADLINE:.0f} s"))
        except UpstreamError as exc:
            self._do(self._conversation.fail(str(exc)))

    # The conversation's side.

    def _do(self, commands: Iterable[Command]) -> None:
        """Carry out what the conversation says, in order."""
        for command in commands:
            match command:
                case Media() | Mark():
                    self._to_twilio.put(media_stream.encode_to_twilio(command))
                case Clear():
                    self._to_twilio.clear()  # what has not been sent need not be cleared there
                    self._to_twilio.put(media_stream.encode_to_twilio(command))
                case Note():
                    log.log(command.level, command.text)
                case End():
                    if not self._ended.done():
                        self._ended.set_result(command)
                case _:
                    self._to_model.put(realtime.encode(command), droppable=isinstance(command, AppendAudio))
        if self._to_twilio.full:
            self._do(self._conversation.stream_lost("more than ten minutes of audio wait for Twilio"))
        elif self._to_model.full:
            self._do(self._conversation.fail("the model takes no more of what must be sent to it"))
        if not self._ended.done():
            self._arm()

    def _arm(self) -> None:
        """Have `_tick` called at the conversation's deadline, unless an earlier call of it is under way."""
        at = self._conversation.deadline()
        if self._timer is not None and at >= self._timer.when():
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._do(self._conversation.tick(self._loop.time()))


def _close_code(outcome: Outcome) -> int:
    """The WebSocket close code (RFC 6455 §7.4.1) that tells Twilio how the stream ended."""
    match outcome:
        case Outcome.SHUT_DOWN:
            return 1001
        case Outcome.FAILED:
            return 1011
    return 1000
