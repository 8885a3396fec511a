"""The model's side of many calls: a minimal OpenAI Realtime API (GA) server.

Three loads:
    ECHO    each input_audio_buffer.append comes back at once, as one delta
    TALK    answers of five seconds, sent in bursts ten times faster than they are spoken, and an interruption every
            ten seconds of each call, half of them while the answer is still being sent, half when all of it was
    SILENT  the model listens, and the caller says nothing
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from enum import Enum
from functools import cache
from time import perf_counter
from typing import Any

from callgate.core.protocols.realtime import ALREADY_RESPONDING
from callgate.core.units import SECONDS
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from . import wire
from .flow import call_of, pattern
from .generator import GOLDEN_RATIO, Caller

LOOPBACK = "127.0.0.1"
TEXT = WSMsgType.TEXT
BACKLOG = 1024
NOBODY = (1 << 24) - 1  # the number in digital silence: it belongs to no call here and is ignored
STOP_TIMEOUT = 5 * SECONDS

CYCLE = 10 * SECONDS  # of the talk load: one interrupted answer and one uninterrupted
BURSTS = ((8000, 4000), (8000, 4000), (8000, 8000))  # bytes of each delta of a five-second answer
BETWEEN_BURSTS = 0.2 * SECONDS
CUT_EARLY = 0.35 * SECONDS  # into the answer, before its last burst …
CUT_LATE = 2.5 * SECONDS  # … or when all of it was sent and half of it was heard
SPEAKS = 1.0 * SECONDS  # how long the caller speaks
THINKS = 0.2 * SECONDS  # how long the model thinks


class Load(Enum):
    ECHO = "echo"
    TALK = "talk"
    SILENT = "silent"


class Model:
    """A server whose sessions are matched to calls with ``find_caller``. ``url`` is known once it has started."""

    def __init__(self, load: Load, find_caller: Callable[[int], Caller | None], tls: ssl.SSLContext | None) -> None:
        self.load = load
        self.url = ""
        self.find_caller = find_caller
        self.problems: list[str] = []
        self.sessions: set[Session] = set()
        self.opened = 0  # sessions, since the start
        self._tls = tls
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        # Without aiofastnet, which on uvloop misses a reset behind unread data (aiofastnet 1.2, uvloop 0.23).
        self._server = await ws_create_server(
            self._accept, LOOPBACK, 0, ssl=self._tls, backlog=BACKLOG, use_aiofastnet=False
        )
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"wss://localhost:{port}" if self._tls else f"ws://{LOOPBACK}:{port}"

    async def stop(self) -> None:
        """Close every session."""
        if self._server is None:
            return
        self._server.close()
        for session in list(self.sessions):
            session.drop()
        await asyncio.wait_for(self._server.wait_closed(), STOP_TIMEOUT)

    def _accept(self, request: WSUpgradeRequest) -> Session:
        return Session(self)


class Session(WSListener):
    """One session. Its first audio tells which call it belongs to."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._load = model.load
        self._cut = wire.Cut(b"audio")
        self._transport: WSTransport
        self._caller: Caller | None = None
        self._talk: asyncio.Task[None] | None = None
        self._events = 0
        self._responses = 0
        self._responding = False
        self._greets = False  # it owes its greeting
        self._delta_of = b""
        self._where: dict[str, Any] = {}

    # The socket.

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._model.sessions.add(self)
        self._model.opened += 1
        self._send("session.created", session={"type": "realtime", "object": "realtime.session", "id": "sess_bench"})

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._model.sessions.discard(self)
        if self._talk is not None:
            self._talk.cancel()

    def drop(self) -> None:
        """Close the socket without a closing handshake."""
        self._transport.disconnect(graceful=False)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = perf_counter()
        message = frame.get_payload_as_bytes()
        payload = self._cut.payload(message)
        if payload is not None:
            self._hear(payload, now)
        elif frame.msg_type is TEXT:
            self._do(message, now)
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def _do(self, message: bytes, now: float) -> None:
        event: dict[str, Any] = json.loads(message)
        match event["type"]:
            case "input_audio_buffer.append":
                self._hear(self._cut.learn(message), now)
            case "session.update":
                self._send("session.updated", session={**event["session"], "object": "realtime.session"})
            case "response.create" if self._responding:
                self._send("error", error={"type": "invalid_request_error", "code": ALREADY_RESPONDING, "message": ""})
            case "response.create":
                self._begin_response()
                self._greets = self._load is Load.TALK
                if self._greets and self._caller is not None:
                    self._greet(self._caller)
            case "conversation.item.truncate":
                self._send("conversation.item.truncated", **{key: event[key] for key in event if key != "type"})
            case "conversation.item.create":
                self._send("conversation.item.added", previous_item_id=None, item={"id": "item_user", **event["item"]})
            case kind:
                self._model.problems.append(f"the model got {kind!r}")

    # The caller's audio.

    def _hear(self, payload: bytes, now: float) -> None:
        caller = self._caller or self._meet(payload)
        if caller is None:
            return
        caller.to_model.arrived(payload, now)
        if self._load is not Load.ECHO:
            return
        if not self._responding:  # as turn detection does on its own, when no response was requested
            self._begin_response()
        self._events += 1
        caller.to_caller.forward(payload, now)
        self._transport.send(TEXT, wire.DELTA % (self._events, self._delta_of, payload))

    def _meet(self, payload: bytes) -> Caller | None:
        if (number := call_of(payload)) == NOBODY:
            return None
        self._caller = self._model.find_caller(number)
        if self._caller is None:
            self._model.problems.append("the model got audio of no call")
        elif self._load is Load.TALK:
            if self._greets:
                self._greet(self._caller)
            self._talk = asyncio.get_running_loop().create_task(self._converse(self._caller))
        return self._caller

    # Sending events.

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._events += 1
        return wire.dump({"type": kind, "event_id": f"event_{self._events:020d}", **fields})

    def _send(self, kind: str, **fields: Any) -> None:
        self._transport.send(TEXT, self._event(kind, **fields))

    def _begin_response(self) -> None:
        self._responses += 1
        self._responding = True
        response, item = f"resp_{self._responses:020d}", f"item_{self._responses:020d}"
        self._delta_of = wire.DELTA_OF.format(response, item).encode()
        self._where = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        self._send("response.created", response=self._response("in_progress"))
        self._send("response.output_item.added", response_id=response, output_index=0, item=self._item("in_progress"))

    def _end_response(self, status: str, reason: str | None = None) -> None:
        self._responding = False
        item = self._item("completed" if reason is None else "incomplete")
        self._send("response.output_audio.done", **self._where)
        self._send("response.output_item.done", response_id=self._where["response_id"], output_index=0, item=item)
        details = None if reason is None else {"type": status, "reason": reason}
        self._send("response.done", response={**self._response(status), "status_details": details})

    def _response(self, status: str) -> dict[str, Any]:
        return {"object": "realtime.response", "id": self._where["response_id"], "status": status, "output": []}

    def _item(self, status: str) -> dict[str, Any]:
        return {"id": self._where["item_id"], "type": "message", "status": status, "role": "assistant", "content": []}

    # The talk load.

    async def _converse(self, caller: Caller) -> None:
        """Give an interrupted answer and an uninterrupted one in turn. Calls begin at different points of that
        cycle."""
        cut_at = CUT_EARLY if caller.number % 2 else CUT_LATE
        second_at = cut_at + SPEAKS + THINKS
        clock = asyncio.get_running_loop().time
        began = clock() - caller.number * GOLDEN_RATIO % 1 * CYCLE
        if clock() < began + second_at:
            await _until(began + second_at)
            await self._answer(caller)
        while True:
            began += CYCLE
            await _until(began)
            await self._interrupted_answer(caller, cut_at)
            await asyncio.sleep(SPEAKS)
            self._send("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id="item_caller")
            self._send("input_audio_buffer.committed", previous_item_id=None, item_id="item_caller")
            await asyncio.sleep(THINKS)
            await self._answer(caller)

    def _greet(self, caller: Caller) -> None:
        """Say something short, as a response without a sound is no answer to a request."""
        self._greets = False
        self._write_deltas(caller, BURSTS[0][:1])
        self._end_response("completed")

    async def _answer(self, caller: Caller) -> None:
        self._begin_response()
        await self._bursts(caller, len(BURSTS))
        self._end_response("completed")

    async def _interrupted_answer(self, caller: Caller, cut_at: float) -> None:
        cut_time = asyncio.get_running_loop().time() + cut_at
        early = cut_at == CUT_EARLY
        self._begin_response()
        await self._bursts(caller, len(BURSTS) - early)
        if not early:
            self._end_response("completed")
        await _until(cut_time)
        caller.speaks_over(perf_counter())
        self._send("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_caller")
        if early:
            self._end_response("cancelled", "turn_detected")

    async def _bursts(self, caller: Caller, count: int) -> None:
        for index, sizes in enumerate(BURSTS[:count]):
            if index:
                await asyncio.sleep(BETWEEN_BURSTS)
            self._write_deltas(caller, sizes)

    def _write_deltas(self, caller: Caller, sizes: tuple[int, ...]) -> None:
        """Send several deltas in one write, each followed by its transcript."""
        frames = []
        for size in sizes:
            self._events += 1
            payload = caller.to_caller.send(_rest(caller.number, size), perf_counter())
            frames.append(wire.server_frame(wire.DELTA % (self._events, self._delta_of, payload)))
            words = self._event("response.output_audio_transcript.delta", **self._where, delta=" and so on")
            frames.append(wire.server_frame(words))
        self._transport.underlying_transport.write(b"".join(frames))


async def _until(time: float) -> None:
    await asyncio.sleep(max(0.0, time - asyncio.get_running_loop().time()))


_rest = cache(pattern)
