"""Slow connections and many of them: connections held open, and bodies and heads that never end."""

from __future__ import annotations

import asyncio

from ..attack import Assault, attack
from ..client import get, post
from ..held import hold
from .bodies import WEBHOOKS, signed_wrongly

MANY = 3_000
HELLOS = 2_000
CHURN = 400.0  # a second
HALF = 100  # bytes of a ClientHello


@attack(
    "slow-bodies", "3,000 forms from one address, each at a byte a second", unit="connections", lasts=3, from_same=True
)
async def bodies(assault: Assault) -> None:
    def first(number: int) -> bytes:
        path = WEBHOOKS[number % len(WEBHOOKS)]
        headers = (signed_wrongly(number),) if number % 2 else ()
        return post(path, assault.target.name, b"a" * 60_000, *headers)[:-59_000]

    await hold(assault, MANY, first=first, each_second=b"a")


@attack("slow-heads", "3,000 request heads, each at a byte a second", unit="connections", lasts=3)
async def heads(assault: Assault) -> None:
    first = get("/incoming-call", assault.target.name)[:-2] + b"X-A: "
    await hold(assault, MANY, first=lambda number: first, each_second=b"a", again=True)


@attack("idle-tcp", "3,000 connections on which nothing is ever sent", unit="connections")
async def idle_tcp(assault: Assault) -> None:
    await hold(assault, MANY, tls=False, again=True)


@attack(
    "idle-tls",
    "3,000 connections that complete the TLS handshake and send nothing more",
    unit="connections",
    lasts=2,
    from_same=True,
)
async def idle_tls(assault: Assault) -> None:
    await hold(assault, MANY, again=True)


@attack("idle-answered", "1,500 connections that were answered once and are kept open", unit="connections", lasts=2)
async def idle_answered(assault: Assault) -> None:
    first = get("/metrics", assault.target.name)
    await hold(assault, MANY // 2, first=lambda number: first)


@attack("half-tls", "2,000 handshakes that stop after the first message, or in the middle of it", unit="connections")
async def half_tls(assault: Assault) -> None:
    hello = assault.client.client_hello()
    await hold(
        assault,
        HELLOS,
        tls=False,
        first=lambda number: hello if number % 2 else hello[:HALF],
        each_second=b"",
        again=True,
    )


@attack("handshakes", "TLS handshakes, as many as one process can make, each closed when complete", unit="connections")
async def handshakes(assault: Assault) -> None:
    async def do(number: int) -> None:
        assault.tried += 1
        async with assault.client.connection():
            assault.got["handshake"] += 1

    await assault.crowd(8, do)


@attack("handshakes-at-once", "100 TLS handshakes started at the same instant, every second", unit="connections")
async def handshakes_at_once(assault: Assault) -> None:
    async def do(number: int) -> None:
        assault.tried += 1
        async with assault.client.connection():
            assault.got["handshake"] += 1

    while assault.goes_on:
        await assault.together(100, do)
        await asyncio.sleep(min(1.0, assault.left))


@attack(
    "churn",
    "Connections that are opened and reset, 400 a second, half of them within the handshake",
    unit="connections",
)
async def churn(assault: Assault) -> None:
    hello = assault.client.client_hello()

    async def do(number: int) -> None:
        assault.tried += 1
        bare = await assault.client.plain_socket()
        try:
            if number % 2:
                await asyncio.get_running_loop().sock_sendall(bare, hello)
            assault.got["connected"] += 1
        finally:
            bare.close()

    await assault.paced(CHURN, do)
