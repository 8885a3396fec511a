"""The backend as it runs in production, under Hypercorn on a real port, with Twilio's requests for tests to make."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import aiohttp
from callgate.config.settings import Config
from callgate.core.gate.signature import edge_proof
from callgate.peers.linecheck import LineCheck
from callgate.web.app import create_app
from callgate.web.server import hypercorn_config, listen
from callgate.web.services import Services
from hypercorn.asyncio import serve
from quart import Quart
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from support.fixtures import AUTH_TOKEN

BASE_URL = "https://voice.example.com"
WSS_URL = "wss://voice.example.com"
ACCOUNT = "AC" + "1" * 32
PROOF = edge_proof(AUTH_TOKEN)  # part of each URL that Twilio is given
FAST_LANE = "on"


def new_sid(prefix: str) -> str:
    return prefix + uuid.uuid4().hex


def sign(url: str, form: dict[str, str] | None = None, token: str = AUTH_TOKEN) -> str:
    return str(RequestValidator(token).compute_signature(url, form or {}))


def start_frame(call_sid: str, stream_sid: str, *, account_sid: str = ACCOUNT, **parameters: str) -> str:
    start = {
        "accountSid": account_sid,
        "streamSid": stream_sid,
        "callSid": call_sid,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": parameters,
    }
    return json.dumps({"event": "start", "sequenceNumber": "1", "start": start, "streamSid": stream_sid})


def told_to_repeat(document: str) -> str | None:
    """Return the path that TwiML redirects to, if it does nothing else."""
    verbs = ElementTree.fromstring(document)
    return (verbs[0].text or "").removeprefix(BASE_URL) if [verb.tag for verb in verbs] == ["Redirect"] else None


@dataclass
class Stream:
    """A stream's path and token, from a call's TwiML."""

    call_sid: str
    path: str
    token: str


class Service:
    """A running backend, and Twilio's requests to it."""

    def __init__(self, app: Quart | None, address: str, http: aiohttp.ClientSession) -> None:
        self.app, self.address, self.http = app, address, http

    @property
    def services(self) -> Services:
        assert self.app is not None, "it is another process"
        services: Services = self.app.extensions["callgate"]
        return services

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """Make a plain request, and return status and body."""
        async with self.http.request(method, f"http://{self.address}{path}", **options) as response:
            return response.status, await response.text()

    async def webhook(self, path: str, **params: str) -> tuple[int, str]:
        """Send a webhook as Twilio does, and follow a redirect in the TwiML."""
        form = {"AccountSid": ACCOUNT, "CallSid": new_sid("CA"), "From": "+15551230001", "To": "+15551230002", **params}
        status, document = await self.send(path, form)
        if status == 200 and (again := told_to_repeat(document)):
            for named in ("DialCallStatus", "ErrorCode", "ErrorUrl"):  # these are sent only once
                form.pop(named, None)
            return await self.send(again, form)
        return status, document

    async def send(self, path: str, form: dict[str, str]) -> tuple[int, str]:
        """Send one signed request, from Twilio or as a replay."""
        headers = {"X-Twilio-Signature": sign(BASE_URL + path, form)}
        return await self.ask("POST", path, data=form, headers=headers)

    async def call(self) -> Stream:
        """Let a call come in, and return its stream."""
        call_sid = new_sid("CA")
        status, document = await self.webhook("/incoming-call", CallSid=call_sid)
        assert status == 200, document
        stream = ElementTree.fromstring(document).find("./Connect/Stream")
        assert stream is not None, document
        return Stream(call_sid, stream.attrib["url"].removeprefix(WSS_URL), stream[0].attrib["value"])

    def upgrade(self, path: str, *, signature: str | None = "right") -> connect:
        """Open a stream's socket. ``signature`` is sent as given; by default it is correct, and ``None`` sends none."""
        if signature == "right":
            signature = sign(WSS_URL + path)
        headers = {} if signature is None else {"x-twilio-signature": signature}
        return connect(f"ws://{self.address}{path}", additional_headers=headers, compression=None, proxy=None)

    @contextlib.asynccontextmanager
    async def stream(self, call: Stream | None = None, **options: Any) -> AsyncIterator[Line]:
        """Open and start a stream."""
        call = call or await self.call()
        async with self.upgrade(call.path) as socket:
            stream_sid = new_sid("MZ")
            await socket.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
            await socket.send(start_frame(call.call_sid, stream_sid, token=call.token))
            yield Line(socket, stream_sid, **options)


def config_for(model_url: str, data_dir: Path, **settings: str) -> Config:
    """Return the settings of a service whose model is at ``model_url``."""
    values = {
        "BASE_URL": BASE_URL,
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "OPENAI_REALTIME_URL": model_url,
        "OPENAI_API_KEY": "sk-test",
        "DATA_DIR": str(data_dir),
        "FAST_LANE": FAST_LANE,
        "STORE": "off",
        **settings,
    }
    return Config.parse(values)


@contextlib.asynccontextmanager
async def running(config: Config, **options: Any) -> AsyncIterator[Service]:
    """Run a backend with these settings on a free port. Nothing of it is left afterwards."""
    app = create_app(config, LineCheck, **options)
    stop = asyncio.Event()
    listener = listen("127.0.0.1", 0)
    host, port = listener.getsockname()
    serving = asyncio.create_task(
        serve(app, hypercorn_config(listener), shutdown_trigger=stop.wait, mode="asgi")  # type: ignore[arg-type]
    )
    try:
        async with aiohttp.ClientSession() as http:
            service = Service(app, f"{host}:{port}", http)
            assert await service.ask("GET", "/healthz") == (200, "ok\n")
            yield service
    finally:
        stop.set()
        await asyncio.wait_for(serving, 20)


class Line:
    """Twilio's end of a started stream, frame by frame. Marks are returned as soon as they arrive, unless held."""

    def __init__(self, socket: ClientConnection, stream_sid: str, *, hold_marks: bool = False) -> None:
        self.socket, self.stream_sid, self.hold_marks = socket, stream_sid, hold_marks
        self.heard = b""  # the agent's audio since the stream began or since the last clear
        self.marks: list[str] = []  # marks held back
        self.clears = 0
        self.last = ""  # the last event the app sent

    async def listen(self, enough: Callable[[Line], bool]) -> None:
        """Receive messages until ``enough`` returns true. Raises `ConnectionClosed`, and `TimeoutError` after 10 s."""
        async with asyncio.timeout(10):
            while not enough(self):
                await self._take(json.loads(await self.socket.recv()))

    async def hear(self, audio: bytes) -> None:
        """Receive messages until exactly this audio was heard, followed by its mark."""
        await self.listen(lambda line: len(line.heard) >= len(audio) and line.last == "mark")
        assert self.heard == audio

    async def closed(self) -> int | None:
        """Receive messages until the app closes the socket, and return the close code."""
        try:
            await self.listen(lambda line: False)
        except ConnectionClosed as exc:
            return exc.rcvd.code if exc.rcvd else None
        raise AssertionError("unreachable")

    async def say(self, audio: bytes) -> None:
        """Send audio, faster than real time."""
        for at in range(0, len(audio), 160):
            await self.send("media", media={"track": "inbound", "chunk": "1", "timestamp": "0",
                                            "payload": base64.b64encode(audio[at : at + 160]).decode()})  # fmt: skip

    async def send(self, event: str, **body: Any) -> None:
        frame = {"event": event, "sequenceNumber": "2", "streamSid": self.stream_sid, **body}
        await self.socket.send(json.dumps(frame))

    async def return_marks(self) -> None:
        for name in self.marks:
            await self.send("mark", mark={"name": name})
        self.marks.clear()

    async def hang_up(self) -> None:
        await self.send("stop", stop={"accountSid": ACCOUNT, "callSid": "CA" + "0" * 32})

    async def _take(self, message: dict[str, Any]) -> None:
        assert message["streamSid"] == self.stream_sid
        self.last = message["event"]
        match message["event"]:
            case "media":
                self.heard += base64.b64decode(message["media"]["payload"])
            case "mark":
                self.marks.append(message["mark"]["name"])
                if not self.hold_marks:
                    await self.return_marks()
            case "clear":
                self.heard, self.clears = b"", self.clears + 1
