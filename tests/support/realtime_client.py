"""A client of a Realtime server: events over a WebSocket, each checked as it arrives."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from support.fake_openai import PATIENCE
from support.linecheck_driver import PCMU
from support.realtime_types import validate_server_event

SESSION = {"type": "realtime", "audio": {"input": {"format": PCMU}, "output": {"format": PCMU}}}


async def send(websocket: ClientConnection, type: str, **fields: Any) -> None:
    await websocket.send(json.dumps({"type": type, **fields}))


async def read_until(websocket: ClientConnection, type: str, *, patience: float = PATIENCE) -> list[dict]:
    """Return the events up to and including the next of this type, each checked against the SDK. Wait at most
    ``patience`` seconds."""
    events: list[dict] = []
    async with asyncio.timeout(patience):
        while not events or events[-1]["type"] != type:
            events.append(json.loads(await websocket.recv()))
            validate_server_event(events[-1])
    return events


async def closed_with(websocket: ClientConnection) -> int:
    """Read to the end, and return the close code, or 1006 if there was none."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await websocket.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006


def audio_of(events: list[dict]) -> bytes:
    """Return all audio of these events."""
    return b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
