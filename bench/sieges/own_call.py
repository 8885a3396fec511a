"""A call of the attacker's own that Twilio signed: its webhooks, and a stream that the attack abuses."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

from callgate.peers.phone.simulation.signing import sign_upgrade, sign_webhook

from bench import wire

from .attack import Assault
from .client import Connection, get, post, why

TEXT, CLOSE = 0x1, 0x8
MASKED = 0x80
SILENCE = base64.b64encode(b"\xff" * 160).decode()  # a frame of it; the model's `NOBODY`


class OwnCall:
    """One call. ``form`` holds Twilio's parameters."""

    def __init__(self, assault: Assault, form: Mapping[str, str] | None = None) -> None:
        self._assault = assault
        self._token = ""
        self.stream_sid = wire.new_sid("MZ")
        self.form = dict(form) if form else form_of(wire.new_sid("CA"))

    def request(self, path: str, **more: str) -> bytes:
        """Return a webhook request, signed as Twilio signs it."""
        target = self._assault.target
        form = {**self.form, **more}
        signature = sign_webhook(target.auth_token, target.base_url + path, form)
        return post(path, target.name, urlencode(form).encode(), f"X-Twilio-Signature: {signature}")

    async def webhook(self, path: str, **more: str) -> tuple[int, bytes]:
        """Send a webhook, and return the answer's status and body."""
        async with self._assault.client.connection() as connection:
            connection.send(self.request(path, **more))
            answer = await connection.answer()
        return answer.status, answer.body

    async def comes_in(self) -> bool:
        """Send the first webhook, and return whether it was answered with a stream."""
        status, document = await self.webhook("/incoming-call")
        stream = ElementTree.fromstring(document).find("Connect/Stream") if status == 200 else None
        if stream is None:
            self._assault.got[f"no stream ({status})"] += 1
            return False
        self._assault.calls += 1
        self._path = urlsplit(stream.attrib["url"]).path
        self._token = self._path.rpartition("/")[2]
        return True

    async def stream(self) -> Connection:
        """Open and start the stream. Raises what `Client.connect` raises, or `ValueError` if the stream is refused."""
        assault = self._assault
        signature = sign_upgrade(assault.target.auth_token, f"wss://{assault.target.name}{self._path}")
        connection = await assault.client.connect()
        connection.send(get(self._path, assault.target.name, *UPGRADE, f"x-twilio-signature: {signature}"))
        status = (await connection.answer()).status
        if status != 101:
            connection.abort()
            raise ValueError(f"the stream was answered with {status}")
        connection.send(frame(wire.connected()))
        connection.send(frame(wire.start(self.stream_sid, self.form["CallSid"], {"token": self._token})))
        return connection

    async def over(self) -> None:
        """Report that the caller has hung up."""
        await self.webhook("/call-status", CallStatus="completed", CallDuration="1")

    def event(self, name: str, **body: object) -> bytes:
        """Return a message of the stream."""
        return json.dumps({"event": name, "sequenceNumber": "2", **body, "streamSid": self.stream_sid}).encode()


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
)


def form_of(call_sid: str) -> dict[str, str]:
    """Return a call's form in Twilio's format."""
    return {
        "AccountSid": wire.ACCOUNT_SID,
        "ApiVersion": "2010-04-01",
        "CallSid": call_sid,
        "CallStatus": "ringing",
        "Called": "+15550002222",
        "Caller": "+15550001111",
        "Direction": "inbound",
        "From": "+15550001111",
        "To": "+15550002222",
    }


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    """Return a client's frame (RFC 6455 §5.2), masked with zeroes."""
    size = len(payload)
    head = bytes(((0x80 if final else 0) | opcode,))
    if size < 126:
        head += bytes((MASKED | size,))
    elif size < 1 << 16:
        head += bytes((MASKED | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((MASKED | 127,)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


async def ending_of(connection: Connection) -> str:
    """Read a stream's frames, ignoring their contents, until it ends. Return in a word how it ended."""
    try:
        while True:
            first, second = await connection.reader.readexactly(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await connection.reader.readexactly(2 if size == 126 else 8), "big")
            payload = await connection.reader.readexactly(size)
            if first & 0xF == CLOSE:
                return f"closed with {int.from_bytes(payload[:2], 'big') or 'no code'}"
    except (OSError, EOFError, asyncio.IncompleteReadError) as error:
        return why(error)
