"""Many requests at once, many one after another, or large ones."""

from __future__ import annotations

import asyncio
import ssl

from ..attack import Assault, attack
from ..client import Connection, get, post, why
from .bodies import WEBHOOKS, signed_wrongly
from .http2 import Http2

BURST = 900
BURST_STREAMS = 100  # requests of it on one connection
BETWEEN_BURSTS = 3.0  # seconds
OPENED_AT_ONCE = 10
BETWEEN_OPENINGS = 0.03  # seconds: the attack consists of requests; a rush of handshakes is another attack
PIPELINED = 500
FORM = b"AccountSid=AC0&CallSid=CA0&From=%2B15550001111&To=%2B15550002222"


async def _bursts(assault: Assault, *, signed: bool) -> None:
    """Send bursts of requests. All of a burst are written before the first answer is read: as streams of HTTP/2
    connections if the edge offers them, otherwise on one connection each."""
    while assault.goes_on:
        there: list[Http2] = []
        while len(there) < BURST // BURST_STREAMS and (client := await Http2.open(assault)) is not None:
            there.append(client)
        if not there:
            await _burst_of_connections(assault, signed)
        for index, client in enumerate(there):
            for number in range(BURST_STREAMS):
                headers = {"content-type": "application/x-www-form-urlencoded"}
                if signed:
                    headers["x-twilio-signature"] = signed_wrongly(index * BURST_STREAMS + number).partition(": ")[2]
                client.request("POST", "/incoming-call", headers, FORM)
                assault.tried += 1
        await asyncio.gather(*(client.read_for(BETWEEN_BURSTS) for client in there))
        for client in there:
            client.connection.abort()


async def _burst_of_connections(assault: Assault, signed: bool) -> None:
    opened: list[Connection] = []

    async def open_one(number: int) -> None:
        opened.append(await assault.client.connect())

    for _ in range(0, BURST, OPENED_AT_ONCE):
        await assault.together(OPENED_AT_ONCE, open_one)
        await asyncio.sleep(BETWEEN_OPENINGS)
    for number, connection in enumerate(opened):
        headers = (signed_wrongly(number),) if signed else ()
        connection.send(post("/incoming-call", assault.target.name, FORM, *headers))
        assault.tried += 1

    async def read(number: int) -> None:
        assault.got[str((await opened[number].answer()).status)] += 1

    await assault.together(len(opened), read)
    for connection in opened:
        connection.abort()
    await asyncio.sleep(min(BETWEEN_BURSTS, assault.left))


@attack("burst-unsigned", "900 unsigned webhooks in one instant, every three seconds", from_same=True)
async def burst_unsigned(assault: Assault) -> None:
    await _bursts(assault, signed=False)


@attack(
    "burst-wrongly-signed", "900 webhooks with wrong signatures in one instant, every three seconds", from_same=True
)
async def burst_signed(assault: Assault) -> None:
    await _bursts(assault, signed=True)


@attack(
    "webhooks-steady",
    "100 small webhooks a second, half of them wrongly signed",
    from_same=True,
)
async def steady(assault: Assault) -> None:
    async def do(worker: int) -> None:
        connection: Connection | None = None
        number = worker
        while assault.goes_on:
            if connection is None:
                connection = await assault.client.connect()
            headers = (signed_wrongly(number),) if number % 2 else ()
            number += 1
            assault.tried += 1
            connection.send(post(WEBHOOKS[number % 6], assault.target.name, FORM, *headers))
            try:
                answer = await connection.answer()
                assault.got[str(answer.status)] += 1
                closes = answer.headers.get("connection") == "close"
            except (OSError, ssl.SSLError, EOFError, TimeoutError) as error:
                assault.got[why(error)] += 1
                closes = True
            if closes:
                connection.abort()
                connection = None
            await asyncio.sleep(0.1)
        if connection is not None:
            connection.abort()

    await assault.together(10, do)


@attack("pipelining", "500 requests written at once on each of four connections, again and again")
async def pipelining(assault: Assault) -> None:
    name = assault.target.name

    async def do(worker: int) -> None:
        async with assault.client.connection() as connection:
            for number in range(PIPELINED):
                webhook = post(WEBHOOKS[number % 6], name, FORM)
                connection.send(webhook if number % 2 else get("/healthz", name))
            assault.tried += PIPELINED
            for _ in range(PIPELINED):
                answer = await connection.answer()
                assault.got[str(answer.status)] += 1
                if answer.headers.get("connection") == "close":
                    break

    await assault.crowd(4, do)


@attack(
    "large-heads",
    "Request heads as large as they may be and larger: one long line, many lines, long names, 20 a second",
)
async def large_heads(assault: Assault) -> None:
    long = "a" * 8_000
    heads = (
        [f"X-A: {long}"],
        [f"X-A{number}: {long}" for number in range(3)],
        [f"X-A: {long * 5}"],
        [f"X-{number}: {number}" for number in range(2_500)],
        [f"Cookie: {'a=b; ' * 1_500}"],
        [f"{'X' * 4_000}: a"],
        [f"X-Twilio-Signature: {long}"],
        [f"Authorization: Bearer {long}"],
        [f"X-Request-ID: {long}"],
        ["X-Twilio-Signature: \xff\xfe\x01"],
        ["Authorization: Bearer \xff\xfe"],
    )
    paths = ("/incoming-call", "/calls", "/media-stream/x", "/")

    async def do(number: int) -> None:
        path = paths[number // len(heads) % len(paths)]
        await assault.ask(
            get(path, assault.target.name, *heads[number % len(heads)], method=("GET", "POST")[number % 2])
        )

    await assault.paced(20.0, do)
