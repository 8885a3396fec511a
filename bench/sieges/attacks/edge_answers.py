"""Answers that nginx gives in the backend's place: one of them contains a telephone number, but for whom?"""

from __future__ import annotations

from ..attack import Assault, attack
from ..client import post
from .bodies import MANY_KEYS, signed_wrongly

A_SECOND = 50.0
PATHS = ("/incoming-call", "/call-interrupted", "/call-transferred")
QUERIES = (
    "waited=9", "waited=8", "waited=7", "waited=%39", "waited=", "waited=a", "WAITED=9", "waited=1&waited=9",
    "waited=9&waited=1", "resumed=9&waited=9", "transfers=99&sendings=99&waited=9", "dialed=busy&waited=8", "waited=-1",
    "token=&waited=9", "t=x&waited=9", "waited=9;waited=1", "waited=9%00",
)  # fmt: skip
BODIES = (b"", b"CallSid=CA0", b"DialCallStatus=busy&waited=9", MANY_KEYS)


async def _ask(assault: Assault, number: int) -> None:
    path = PATHS[number % len(PATHS)]
    query = QUERIES[number // len(PATHS) % len(QUERIES)]
    headers = (signed_wrongly(number),) if number % 2 else ()
    body = BODIES[number % 3]
    await assault.ask(post(f"{path}?{query}", assault.target.name, body, *headers))


@attack("waited", "POST /incoming-call?waited=9 and variants, unsigned, 50 a second, while the backend is well")
async def while_it_is_well(assault: Assault) -> None:
    async def do(number: int) -> None:
        await _ask(assault, number)

    await assault.paced(A_SECOND, do)


@attack(
    "waited-failing", "The same at an edge whose backend is gone: whom does it tell of FALLBACK_DIAL?", edge_fails=True
)
async def while_it_fails(assault: Assault) -> None:
    async def do(number: int) -> None:
        await _ask(assault, number)

    await assault.paced(A_SECOND, do)
