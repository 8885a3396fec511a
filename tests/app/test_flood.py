"""A stream that sends more than Twilio would is closed without affecting others; a backlog that Twilio sends is
accepted."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable

import pytest
from callgate.core.wire.media_stream import Media
from callgate.core.wire.media_stream_json import encode_to_app
from support.fake_openai import Script, say, tone
from support.service import WSS_URL, Service, new_sid, sign, start_frame
from support.websocket_probe import CLOSE, CONTINUATION, PING, PONG, TEXT, Probe, frame

pytestmark = [pytest.mark.usefixtures("both_paths"), pytest.mark.whole]

GREETING = tone(0.4, 440)
ENOUGH = 40 * 1024 * 1024  # bytes after which an attacker gives up


def event(name: str, stream_sid: str, **body: object) -> bytes:
    return frame(TEXT, json.dumps({"event": name, "streamSid": stream_sid, "sequenceNumber": "2", **body}).encode())


# What is sent repeatedly, given the stream's SID.
ATTACKS: dict[str, Callable[[str], bytes]] = {
    "pings": lambda sid: frame(PING),
    "long pings": lambda sid: frame(PING, b"x" * 125),
    "pongs": lambda sid: frame(PONG, b"x"),
    "media": lambda sid: frame(TEXT, encode_to_app(Media(sid, "/" * 216, sequence_number=2)).encode()),
    "media that is parsed": lambda sid: event("media", sid, media={"payload": "////", "track": "inbound"}),
    "marks": lambda sid: event("mark", sid, mark={"name": "x"}),
    "keys": lambda sid: event("dtmf", sid, dtmf={"digit": "5"}),
    "unknown messages": lambda sid: event("later", sid),
    "big unknown messages": lambda sid: event("later", sid, body=[1] * 20_000),
    "empty fragments": lambda sid: frame(CONTINUATION, fin=False),
    "small fragments": lambda sid: frame(CONTINUATION, b"x", fin=False),
}
BEGINNINGS = {
    "empty fragments": frame(TEXT, b"{", fin=False),
    "small fragments": frame(TEXT, b"{", fin=False),
}


def attack(probe: Probe, beginning: bytes, again: bytes) -> int | None:
    """Send as fast as possible until the server closes the connection, and return the close code."""
    over = threading.Event()

    def send() -> None:
        chunk = again * max(256 * 1024 // len(again), 1)
        left = ENOUGH // len(chunk)
        try:
            probe.send(beginning)
            while left and not over.is_set():
                probe.send(chunk)
                left -= 1
        except OSError:
            pass

    sender = threading.Thread(target=send)
    sender.start()
    try:
        while (got := probe.read_frame()).opcode != CLOSE:
            pass
        return int.from_bytes(got.payload[:2], "big")
    except (EOFError, ConnectionResetError):
        return None
    finally:
        over.set()
        sender.join()


async def started(service: Service) -> tuple[Probe, str]:
    """Start a stream on a blocking socket."""
    call, stream_sid = await service.call(), new_sid("MZ")
    host, port = service.address.split(":")

    def start() -> Probe:
        probe = Probe((host, int(port))).upgrade(call.path, x_twilio_signature=sign(WSS_URL + call.path))
        probe.send_frame(TEXT, b'{"event":"connected","protocol":"Call","version":"1.0.0"}')
        probe.send_frame(TEXT, start_frame(call.call_sid, stream_sid, token=call.token).encode())
        while b'"mark"' not in probe.read_frame().payload:
            pass
        return probe

    return await asyncio.to_thread(start), stream_sid


def numbered(number: int) -> bytes:
    return number.to_bytes(4, "big") * 40


def caller_audio(connection: object) -> bytes:
    return b"".join(
        base64.b64decode(event["audio"])
        for event in connection.received  # type: ignore[attr-defined]
        if event["type"] == "input_audio_buffer.append"
    )


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not done():  # noqa: ASYNC110 (the fake does not signal it)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ATTACKS)
async def test_a_flood_ends_its_stream_with_1008_and_no_other_loses_a_frame(service, fake, log, kind):
    fake.script = Script((say(GREETING),))
    async with service.stream() as line:
        await line.hear(GREETING)
        (served,) = [each for each in fake.connections if each.received]
        probe, stream_sid = await started(service)
        with probe:
            attacking = asyncio.create_task(
                asyncio.to_thread(attack, probe, BEGINNINGS.get(kind, b""), ATTACKS[kind](stream_sid))
            )
            sent = 0
            while not attacking.done() or sent < 50:
                await line.say(numbered(sent))
                sent += 1
                await asyncio.sleep(0.02)
            assert await attacking == 1008
        wanted = b"".join(map(numbered, range(sent)))
        await until(lambda: len(caller_audio(served)) >= len(wanted))
        assert caller_audio(served) == wanted
    await until(lambda: "are allowed" in log.getvalue())
    assert "Traceback" not in log.getvalue()


@pytest.mark.parametrize("kind", ["pings", "unknown messages", "media"])
async def test_a_flood_before_the_start_ends_its_stream(service, fake, log, kind):
    call = await service.call()
    host, port = service.address.split(":")

    def flood() -> int | None:
        with Probe((host, int(port))).upgrade(call.path, x_twilio_signature=sign(WSS_URL + call.path)) as probe:
            return attack(probe, b"", ATTACKS[kind]("MZ" + "0" * 32))

    assert await asyncio.to_thread(flood) in (1002, 1008)
    await until(lambda: "The media stream " in log.getvalue())
    assert "Traceback" not in log.getvalue()


async def test_half_a_minute_that_piled_up_is_taken_whole(service, fake, log):
    fake.script = Script((say(GREETING),))
    probe, stream_sid = await started(service)
    served = next(each for each in fake.connections if each.received)
    frames = [
        frame(TEXT, encode_to_app(Media(stream_sid, base64.b64encode(numbered(n)).decode(), chunk=n)).encode())
        for n in range(1500)
    ]
    marks = [event("mark", stream_sid, mark={"name": f"old:{n}"}) for n in range(1200)]
    with probe:
        await asyncio.to_thread(probe.send, *frames, *marks, event("dtmf", stream_sid, dtmf={"digit": "5"}))
        wanted = b"".join(map(numbered, range(1500)))
        await until(lambda: len(caller_audio(served)) >= len(wanted))
        assert caller_audio(served) == wanted
        stop = {"accountSid": "AC" + "1" * 32, "callSid": "CA" + "0" * 32}
        await asyncio.to_thread(probe.send, event("stop", stream_sid, stop=stop))
        _, ending = await asyncio.to_thread(probe.read_to_end)
        assert ending.code == 1000
