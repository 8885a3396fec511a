"""Real callers who arrive during an attack. Each makes a complete call as Twilio would, or is counted as turned away.

They run in their own process, so that their work does not delay the live calls' clock. Its argument says whom to call
and from where. It then reads the commands `COME`, `STOP` and `SOME` from standard input, and answers the last two with
the callers' results.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
import sys
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import aiohttp
import uvloop
from callgate.core.units import SECONDS
from callgate.peers.phone.simulation.signing import sign_upgrade, sign_webhook
from picows import WSError, ws_connect

from bench import wire
from bench.contenders import AUTH_TOKEN, BASE_URL, DOMAIN, Door
from bench.flow import FRAME_BYTES, Flow, Hop, pattern
from bench.generator import FRAME_MS, Caller, Tally

from .own_call import form_of
from .row import Callers

A_CALLER_EVERY = 0.3 * SECONDS
CLOSED_WITHIN = 5 * SECONDS
ENOUGH = 25  # frames that came back: half a second of audio
MOST_REDIRECTS = 10
FIRST_NUMBER = 200_000  # above those of live calls, below `flow.LONGEST_CALL`


COME, STOP, SOME = "come", "stop", "some"
READY = "ready"
A_FEW, BETWEEN_A_FEW = 3, 0.15 * SECONDS


@dataclass(frozen=True, slots=True)
class Waits:
    """How long callers wait, in seconds: to be connected, for an answer, and for the model's audio once their stream is
    accepted."""

    connect: float = 5 * SECONDS  # Twilio's
    answer: float = 15 * SECONDS  # Twilio's
    heard: float = 5 * SECONDS


PATIENT = Waits(60 * SECONDS, 60 * SECONDS, 60 * SECONDS)  # on a busy machine


class TurnedAway(Exception):
    """A caller was not served. The text gives the reason in a few words."""


class RealCallers:
    """Calls from one address. ``incoming`` is the path of their number's webhook."""

    def __init__(self, door: Door, source: str, incoming: str, waits: Waits) -> None:
        self._door, self._source, self._incoming, self._waits = door, source, incoming, waits
        self._numbers = itertools.count(FIRST_NUMBER)
        self._under_way: set[asyncio.Task[None]] = set()
        self._reset()

    def _reset(self) -> None:
        self._placed = self._served = self._waited = 0
        self._why_not: Counter[str] = Counter()

    async def come(self) -> None:
        """Place calls one after another until cancelled. Calls already placed continue."""
        began = perf_counter()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number * A_CALLER_EVERY - perf_counter()))
            self.place()

    def place(self) -> None:
        """Place one call."""
        self._placed += 1
        task = asyncio.ensure_future(self._call(next(self._numbers)))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def all_done(self) -> Callers:
        """Wait for the calls placed so far, and return their results."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        outcome = Callers(self._placed, self._served, self._waited, dict(self._why_not.most_common()))
        self._reset()
        return outcome

    async def _call(self, number: int) -> None:
        # One connection per request, because Twilio's requests come from many machines.
        connector = aiohttp.TCPConnector(local_addr=(self._source, 0), force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=self._waits.answer, sock_connect=self._waits.connect)
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
                call = _Call(http, self._door, self._source, self._incoming, self._waits, number)
                await call.run()
        except TurnedAway as error:
            self._why_not[str(error)] += 1
        else:
            self._served += 1
            self._waited += call.waits > 0


class _Call:
    """One call, from the first webhook to the last callback."""

    def __init__(
        self, http: aiohttp.ClientSession, door: Door, source: str, incoming: str, waits: Waits, number: int
    ) -> None:
        self._http, self._door, self._source, self._number = http, door, source, number
        self._incoming, self._patience = incoming, waits
        self._form = form_of(wire.new_sid("CA"))
        self.waits = 0

    async def run(self) -> None:
        """Make the call. Raises `TurnedAway`."""
        stream = await self._twiml(self._incoming)
        stream_sid = await self._talk(stream)
        over = {"CallStatus": "completed", "CallDuration": "1", "Timestamp": _now()}
        callbacks = (
            ("/stream-status", {"StreamSid": stream_sid, "StreamEvent": "stream-stopped", "Timestamp": _now()}),
            ("/call-status", over),
        )
        for path, more in callbacks:
            status, _ = await self._post(path, {**self._form, **more})
            if status not in (200, 204):
                raise TurnedAway(f"{status} at {path}")

    async def _twiml(self, path: str) -> str:
        """Carry out TwiML until it connects a stream, and return the stream's URL."""
        for _ in range(MOST_REDIRECTS):
            status, document = await self._post(path, self._form)
            if status != 200:
                raise TurnedAway(f"{status} at {urlsplit(path).path}")
            path = await self._act_out(document, path)
            if path.startswith("wss:"):
                return path
            self.waits += 1
        raise TurnedAway("asked to wait for ever")

    async def _act_out(self, document: str, path: str) -> str:
        said = ""
        for verb in ElementTree.fromstring(document):
            match verb.tag:
                case "Say":
                    said = (verb.text or "")[:30]
                case "Pause":
                    await asyncio.sleep(float(verb.attrib.get("length", 1)))
                case "Redirect":
                    return _path(urljoin(BASE_URL + path, verb.text or ""))
                case "Connect":
                    return verb[0].attrib["url"]
                case "Dial" | "Hangup":
                    break
        raise TurnedAway(f"told {said!r}")

    async def _post(self, path: str, form: Mapping[str, str]) -> tuple[int, str]:
        door = self._door
        headers = {
            "Host": DOMAIN,
            "X-Twilio-Signature": sign_webhook(AUTH_TOKEN, BASE_URL + path, form),
            "I-Twilio-Idempotency-Token": str(uuid.uuid4()),
            "User-Agent": "TwilioProxy/1.1",
        }
        url = door.webhook_url.removesuffix("/incoming-call") + path
        try:
            async with self._http.post(
                url, data=form, headers=headers, ssl=door.tls or True, server_hostname=DOMAIN
            ) as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TurnedAway(f"{type(error).__name__} at {urlsplit(path).path}") from error

    async def _talk(self, url: str) -> str:
        """Send audio until enough has come back, and return the stream's SID."""
        hop, heard = Hop(), asyncio.Event()
        tally = Tally()
        back = Flow(self._number, hop)
        flows = _Echoed(self._number, Hop(), back), back
        words = pattern(self._number, FRAME_BYTES)
        caller = Caller(self._number, *flows, tally, self._form["CallSid"], url.rpartition("/")[2], words)
        frames = 0

        def on_heard() -> None:
            nonlocal frames
            frames += 1
            if frames >= ENOUGH:
                heard.set()

        caller.on_heard = on_heard
        await self._open(caller, url)
        speaking = asyncio.ensure_future(_speak(caller))
        try:
            await self._tell_started(caller.stream_sid)
            await asyncio.wait_for(heard.wait(), self._patience.heard)
            if tally.problems:
                raise TurnedAway("the stream was closed")
        except TimeoutError:
            raise TurnedAway("the stream was closed" if tally.problems else "no reply was heard") from None
        finally:
            speaking.cancel()
            caller.hang_up()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(caller.closed), CLOSED_WITHIN)
        if hop.crossed or hop.corrupt:
            raise TurnedAway("heard somebody else")
        return caller.stream_sid

    async def _tell_started(self, stream_sid: str) -> None:
        more = {"StreamSid": stream_sid, "StreamEvent": "stream-started", "Timestamp": _now()}
        status, _ = await self._post("/stream-status", {**self._form, **more})
        if status not in (200, 204):
            raise TurnedAway(f"{status} at /stream-status")

    async def _open(self, caller: Caller, url: str) -> None:
        try:
            _, listener = await ws_connect(
                lambda: caller,
                self._door.stream_url + urlsplit(url).path,
                ssl_context=self._door.tls,
                extra_headers={"Host": DOMAIN, "x-twilio-signature": sign_upgrade(AUTH_TOKEN, url) or ""},
                websocket_handshake_timeout=self._patience.answer,
                use_aiofastnet=False,
                server_hostname=DOMAIN if self._door.tls else None,
                local_addr=(self._source, 0),
            )
        except (WSError, OSError, TimeoutError) as error:
            raise TurnedAway(f"no stream: {str(error)[:40] or type(error).__name__}") from error
        if listener is None:
            raise TurnedAway("no stream: closed during the upgrade")


class _Echoed(Flow):
    """The way to a model that echoes everything: each piece sent is expected on the way back."""

    __slots__ = ("_back",)

    def __init__(self, call: int, hop: Hop, back: Flow) -> None:
        super().__init__(call, hop)
        self._back = back

    def send(self, rest: bytes, now: float) -> bytes:
        payload = super().send(rest, now)
        self._back.forward(payload, now)
        return payload


async def _speak(caller: Caller) -> None:
    began = perf_counter()
    for frame in itertools.count(1):
        await asyncio.sleep(max(0.0, began + frame * FRAME_MS / 1e3 - perf_counter()))
        caller.speak(perf_counter())


def _path(url: str) -> str:
    """Return path and query."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# The process.


async def _serve(told: dict[str, Any]) -> None:
    address = f"{told['host']}:{told['port']}"
    tls = ssl.create_default_context(cafile=told["ca"])
    door = Door(f"https://{address}/incoming-call", f"wss://{address}", tls)
    callers = RealCallers(door, told["source"], told["incoming"], PATIENT if told["patient"] else Waits())
    coming: asyncio.Task[None] | None = None
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print(READY, flush=True)
    while command := (await commands.readline()).decode().strip():
        if command == COME:
            coming = asyncio.ensure_future(callers.come())
            continue
        if command == SOME:
            for _ in range(A_FEW):
                callers.place()
                await asyncio.sleep(BETWEEN_A_FEW)
        elif coming is not None:
            coming.cancel()
        print(json.dumps(asdict(await callers.all_done())), flush=True)


if __name__ == "__main__":
    uvloop.run(_serve(json.loads(sys.argv[1])))
